// What torch asks of an accelerator, beside its guard.

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <map>
#include <mutex>

#include "memory.h"
#include "registration.h"
#include "tensors.h"

namespace spike_torch {
namespace {

// Pinned host memory: the CPU's, locked where the process may lock as much. Transfers
// need no more of it; that it is pinned is what users see.
class Pinned final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    c10::DataPtr held = c10::GetDefaultCPUAllocator()->allocate(size);
    void* data = held.get();
    if (!data) return held;
    ::mlock(data, size);  // refused beyond RLIMIT_MEMLOCK: then it is not locked
    auto* block = new PinnedBlock{this, std::move(held), size};
    std::lock_guard lock(mutex_);
    blocks_.emplace(reinterpret_cast<uintptr_t>(data), size);
    return {data, block, free_pinned, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

  // Nothing is cached, and nothing waits for work of a core's.
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override {
    at::HostStats stats;
    std::lock_guard lock(mutex_);
    for (const auto& [address, size] : blocks_) {
      stats.active_requests.increase(1);
      stats.active_bytes.increase(size);
    }
    stats.allocations = stats.active_requests;
    stats.allocated_bytes = stats.active_bytes;
    return stats;
  }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

  bool is_pinned(const void* data) {
    const auto address = reinterpret_cast<uintptr_t>(data);
    std::lock_guard lock(mutex_);
    auto after = blocks_.upper_bound(address);
    if (after == blocks_.begin()) return false;
    const auto& [begin, size] = *std::prev(after);
    return address - begin < size;
  }

 private:
  struct PinnedBlock {
    Pinned* owner;
    c10::DataPtr held;
    size_t size;
  };
  static void free_pinned(void* context) {
    const std::unique_ptr<PinnedBlock> block(static_cast<PinnedBlock*>(context));
    ::munlock(block->held.get(), block->size);
    std::lock_guard lock(block->owner->mutex_);
    block->owner->blocks_.erase(reinterpret_cast<uintptr_t>(block->held.get()));
  }

  std::mutex mutex_;
  std::map<uintptr_t, size_t> blocks_;
};

Pinned& pinned() {
  static auto* only = new Pinned;
  return *only;
}

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return device_count() > 0; }
  bool hasPrimaryContext(c10::DeviceIndex) const override {
    return spike().state() == SPIKE_OPEN;
  }
  // The first use in a child of a process that has used a device is refused.
  void init() const override { require_not_forked(); }
  c10::DeviceIndex deviceCount() const override { return device_count(); }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    exchange_device(device);
  }
  c10::DeviceIndex getCurrentDevice() const override { return current_device(); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    return exchange_device(device);
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return exchange_device(device);
  }

  bool isPinnedPtr(const void* data) const override { return pinned().is_pinned(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned(); }
  c10::Device getDeviceFromPtr(void* data) const override {
    const Memory memory = find_memory(reinterpret_cast<uintptr_t>(data));
    TORCH_CHECK(memory.tensor, "nkipy: no tensor is at the address ", data);
    return {c10::DeviceType::PrivateUse1, memory.device};
  }

  const at::Generator& getDefaultGenerator(c10::DeviceIndex device) const override {
    return default_generator(device);
  }
  at::Generator getNewGenerator(c10::DeviceIndex device) const override {
    return new_generator(device);
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    resize_storage(*storage.unsafeGetStorageImpl(), size);
  }
};

}  // namespace

void register_hooks() {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::SetAllocator(c10::DeviceType::PrivateUse1, &allocator());
  at::setHostAllocator(c10::DeviceType::PrivateUse1, &pinned());
}

}  // namespace spike_torch
