// Device tensors.
#pragma once

#include <vector>

#include "nrt_wrapper.h"

namespace spike {

class NrtTensorSet;

/// Which bytes of a core's memory a tensor is: of one allocation, from `begin` to
/// before `end`.
struct Extent {
  int core_id;
  uint64_t allocation;
  size_t begin, end;
  bool overlaps(const Extent& other) const {
    return allocation == other.allocation && begin < other.end && other.begin < end;
  }
};

/// Device memory: owns one nrt_tensor_t. Whoever uses it holds a share ("pins" it), so
/// that it is freed after the last running call, whatever its owner does meanwhile.
class TensorStorage {
 public:
  TensorStorage(std::shared_ptr<NrtRuntime> runtime, nrt_tensor_t* tensor,
                const Extent& extent)
      : runtime(std::move(runtime)), tensor(tensor), extent(extent) {}
  ~TensorStorage();

  /// Has `set` emptied before this tensor is freed: libnrt wants tensors to outlive
  /// sets.
  void add_dependent(const std::shared_ptr<NrtTensorSet>& set);

  const std::shared_ptr<NrtRuntime> runtime;
  nrt_tensor_t* tensor;
  const Extent extent;

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<NrtTensorSet>> dependents_;
};
using TensorPin = std::shared_ptr<TensorStorage>;

/// An owner's share of a tensor's storage until it is given up, and what is known of it
/// for ever. Offsets and sizes are in bytes and checked; size 0 means up to the end.
/// Methods throw SpikeError for a freed tensor, a closed runtime or a range out of
/// bounds, and NrtError with what libnrt says. Safe to use from many threads.
class NrtTensor : public Share<TensorStorage> {
 public:
  static NrtTensor allocate(const NrtRuntime::Lease& runtime, size_t size, int core_id,
                            const std::string& name);
  NrtTensor slice(size_t offset, size_t size, const std::string& name) const;

  void write(const void* data, size_t size, size_t offset);
  /// How much a read of `size` reads.
  size_t readable(size_t offset, size_t size) const;
  void read(void* data, size_t size, size_t offset) const;
  /// On the device, or through the host if the source is on another core.
  void copy_from(const NrtTensor& source, size_t source_offset, size_t offset,
                 size_t size);
  void fill(int byte, size_t offset, size_t size);

  /// Gives the share up: the memory is freed with the last, after running calls.
  /// Idempotent.
  void free() { std::atomic_store(&held_, std::shared_ptr<const Held>()); }
  /// Address in the device's memory; 0 if freed.
  uintptr_t address() const;

  const int core_id;
  const size_t size;

 private:
  friend NrtTensor attach(const NrtRuntime::Lease&, void* data, size_t size, int core);
  NrtTensor(NrtRuntime::Lease lease, const Extent& extent, const std::string& name,
            nrt_tensor_t* tensor);
};

}  // namespace spike
