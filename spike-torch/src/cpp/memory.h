// Torch's memory on cores: the allocator, and what a DataPtr of it is.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "pool.h"

namespace spike_torch {

/// torch's allocator of the device, which lives as long as the process.
c10::DeviceAllocator& allocator();

/// `size` bytes of a core's memory; none, a DataPtr without memory.
c10::DataPtr allocate(size_t size, c10::DeviceIndex device);

/// The same as memory of the CPU's, whose address is its context, as that of the CPU's
/// own is: where that is the host's to use. `where` is set to what it is.
c10::DataPtr allocate_host_result(size_t size, c10::DeviceIndex device, Memory* where);
/// Whether it is that.
bool is_host_result(const c10::DataPtr& data);
/// Makes it the core's.
c10::DataPtr to_device(c10::DataPtr host_result);
/// Frees it by its address. False if there is none.
bool free_host_result(void* address);

/// Memory of a tensor of spike's, a share of which the DataPtr takes over and releases.
/// Raises, and releases it, if it cannot be used.
c10::DataPtr attach(SpikeTensor* tensor);

/// The memory of a storage on a core, also of one that others made at an address of
/// ours. Without a `tensor` if it is none. Raises if the address is not of ours.
Memory memory_of(const c10::DataPtr& data);
inline Memory memory_of(const at::Tensor& tensor) {
  return memory_of(tensor.storage().data_ptr());
}
/// The memory that is in use at an address, from there on; without a `tensor` if there
/// is none.
Memory find_memory(uintptr_t address);

/// While it lives, the runtime of some memory does not close.
class Access {
 public:
  Access() = default;
  /// Raises if the runtime was closed, or if the process was forked from its own.
  explicit Access(const Memory& memory);
  Access(Access&& other) noexcept : tensor_(std::exchange(other.tensor_, nullptr)) {}
  Access& operator=(Access&&) = delete;
  ~Access() {
    if (!tensor_) return;
    spike().tensor_leave(tensor_);
    note_access(-1);
  }

 private:
  SpikeTensor* tensor_ = nullptr;
};

/// Raises unless memory can be accessed.
void require_alive(const Memory& memory);

}  // namespace spike_torch
