// What the CPU computes for a core: device tensors as the CPU's, and its results as the
// core's.
//
// Where device memory is the host's, as the emulator's is, both are the same memory and
// nothing is copied. On a device with memory of its own, arguments are read and what
// was written is written back.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <optional>

#include "memory.h"

namespace spike_torch {

/// The CPU's view of some device tensors, for one operation on one core.
class HostTensors {
 public:
  explicit HostTensors(c10::DeviceIndex device) : device_(device) {}

  c10::DeviceIndex device() const { return device_; }
  /// Keeps the runtime of some memory from closing, if no tensor that was given does.
  void keep_open(const Memory& memory) {
    if (!access_) access_.emplace(memory);
  }

  /// Which of the CPU's kernels is for the tensors.
  c10::DispatchKey key() const { return key_; }

  /// The tensor as one of the CPU's: one tensor as one, so that the CPU knows what is
  /// written to for what is read. Tensors of one storage are given one storage.
  at::Tensor host(const at::Tensor& tensor);
  /// After the operation: what it wrote to the host's tensor, or made of it by resizing
  /// it, is the device tensor's.
  void update(const at::Tensor& tensor, const at::Tensor& host);
  /// A result of the CPU's as one of the core's.
  at::Tensor device_tensor(const at::Tensor& host);
  /// Who has kept a tensor of the CPU's on a core's memory, which a reset takes away,
  /// has a copy of it from here on.
  void part();

 private:
  struct Pair {
    c10::Storage device, host;
    void* data;   // of the host's storage, at first
    size_t size;  // the same
  };
  struct Known {
    at::Tensor device, host;
  };
  Pair& pair_of(const c10::Storage& storage);
  Pair* pair_with_host(const c10::Storage& host);
  at::Tensor new_host(const at::Tensor& tensor);

  const c10::DeviceIndex device_;
  c10::DispatchKey key_ = c10::DispatchKey::CPU;
  std::optional<Access> access_;
  c10::SmallVector<Pair, 4> pairs_;
  c10::SmallVector<Known, 4> known_;
};

/// While it lives, what this thread allocates as CPU memory is a core's, where that is
/// possible: results need not be copied then. `tensors` keep its runtime open.
class ResultsOn {
 public:
  explicit ResultsOn(HostTensors& tensors);
  ~ResultsOn();
  ResultsOn(const ResultsOn&) = delete;

  c10::DataPtr allocate(size_t size);

 private:
  ResultsOn* const before_;
  HostTensors& tensors_;
};

}  // namespace spike_torch
