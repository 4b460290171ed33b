// Tensors: named views of storage.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "memory.h"
#include "nrt/nrt.h"
#include "waiting.h"

namespace emulator {

/// What a tensor shows at one moment. Keeps the storage alive.
struct TensorView {
  std::shared_ptr<Storage> storage;  // null for a tensor without one
  std::size_t offset = 0;
  std::size_t size = 0;

  std::byte* data() const noexcept {
    return storage ? storage->data() + offset : nullptr;
  }
  /// A part, without overflow. Throws StatusError(NRT_INVALID) if it leaves the view or
  /// there is no storage.
  TensorView part(std::uint64_t part_offset, std::uint64_t part_size) const;
};

/// A tensor of the caller's. Safe to use from many threads.
class Tensor {
 public:
  static constexpr unsigned kHandleTag = 0x11;
  static constexpr const char* kHandleName = "tensor";

  Tensor(std::string name, nrt_tensor_placement_t placement, int core, TensorView view);

  const std::string& name() const noexcept { return name_; }
  /// The core whose HBM holds it, or -1.
  int core() const;
  nrt_tensor_placement_t placement() const;
  TensorView view() const;
  /// Lets go of the storage and shows the caller's buffer instead.
  void attach(std::byte* buffer, std::size_t size);
  /// Executions that wrote the tensor count here.
  CompletionCounter& completions() noexcept { return completions_; }
  const CompletionCounter& completions() const noexcept { return completions_; }

 private:
  const std::string name_;
  mutable std::mutex mutex_;  // guards what follows, up to the counter
  nrt_tensor_placement_t placement_;
  int core_;
  TensorView view_;
  CompletionCounter completions_;
};

}  // namespace emulator
