#include "memory.h"

#include <c10/core/Storage.h>
#include <c10/util/flat_hash_map.h>

#include <atomic>
#include <mutex>
#include <unordered_set>

#include "prepared_calls.h"

namespace spike_torch {
namespace {

void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  pool_of(block->device).free(block);
}

// Blocks that are the CPU's for now, by address.
class HostResults {
 public:
  void add(void* address, Block* block) {
    std::lock_guard lock(mutex_);
    blocks_[address] = block;
    count_.store(blocks_.size(), std::memory_order_relaxed);
  }
  Block* take(void* address) {
    // Only who was given an address frees it: for that thread it is counted.
    if (count_.load(std::memory_order_relaxed) == 0 || is_forked()) return nullptr;
    std::lock_guard lock(mutex_);
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return nullptr;
    Block* block = found->second;
    blocks_.erase(found);
    count_.store(blocks_.size(), std::memory_order_relaxed);
    return block;
  }

 private:
  std::mutex mutex_;
  std::atomic<size_t> count_{0};
  ska::flat_hash_map<void*, Block*> blocks_;
};

HostResults& host_results() {
  static auto* only = new HostResults;
  return *only;
}

void free_or_fail(void* address) { free_host_result(address); }

// Attached memory, for what is looked for by address.
std::mutex attached_mutex;
std::unordered_set<const Memory*>& attached() {
  static auto* all = new std::unordered_set<const Memory*>;
  return *all;
}

void detach(void* context) {
  auto* memory = static_cast<Memory*>(context);
  if (is_forked()) return;
  {
    std::lock_guard lock(attached_mutex);
    attached().erase(memory);
  }
  forget_calls_on(memory->address, memory->size);
  spike().tensor_release(memory->tensor);
  delete memory;
}

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    return spike_torch::allocate(size, current_device());
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t size) const override {
    if (size == 0) return;
    const Memory target = find_memory(reinterpret_cast<uintptr_t>(to));
    const Memory source = find_memory(reinterpret_cast<uintptr_t>(from));
    TORCH_CHECK(target.tensor && source.tensor,
                "nkipy: copy_data between what is no device memory");
    check(spike().tensor_copy(source.tensor, source.offset, target.tensor,
                              target.offset, size),
          "copy on the device");
  }

  bool initialized() override { return !used_pools().empty(); }
  void emptyCache(c10::MempoolId_t) override {
    for (Pool* pool : used_pools()) pool->trim(0);
  }
  // What is computed is done when a call returns: nothing has to be waited for.
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  Stats getDeviceStats(c10::DeviceIndex device) override {
    return pool_of(checked(device)).stats();
  }
  void resetAccumulatedStats(c10::DeviceIndex device) override {
    pool_of(checked(device)).reset_accumulated();
  }
  void resetPeakStats(c10::DeviceIndex device) override {
    pool_of(checked(device)).reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    size_t used = 0, total = 0;
    check(spike().memory_stats(static_cast<uint32_t>(checked(device)), &used, &total),
          "ask for the memory that is free");
    return {total - std::min(used, total), total};
  }

 private:
  static c10::DeviceIndex checked(c10::DeviceIndex device) {
    return with_index({c10::DeviceType::PrivateUse1, device}).index();
  }
};

}  // namespace

c10::DeviceAllocator& allocator() {
  static auto* only = new Allocator;
  return *only;
}

c10::DataPtr allocate(size_t size, c10::DeviceIndex index) {
  const c10::Device device(c10::DeviceType::PrivateUse1, index);
  if (size == 0) return {nullptr, device};
  Block* block = pool_of(index).allocate(size);
  return {reinterpret_cast<void*>(block->address), block, free_block, device};
}

c10::DataPtr attach(SpikeTensor* tensor) {
  const auto release = [](SpikeTensor* share) { spike().tensor_release(share); };
  std::unique_ptr<SpikeTensor, decltype(release)> share(tensor, release);
  SpikeTensorInfo info;
  check(spike().tensor_info(tensor, &info), "attach a tensor");
  TORCH_CHECK(!info.is_freed, "nkipy: unable to attach a tensor that was freed");
  note_use();
  const auto index = static_cast<c10::DeviceIndex>(info.core_id);
  auto* memory = new Memory{share.release(), 0, info.size, info.address, index};
  {
    std::lock_guard lock(attached_mutex);
    attached().insert(memory);
  }
  return {reinterpret_cast<void*>(info.address),
          memory,
          detach,
          {c10::DeviceType::PrivateUse1, index}};
}

c10::DataPtr allocate_host_result(size_t size, c10::DeviceIndex device, Memory* where) {
  Block* block = pool_of(device).allocate(size);
  *where = *block;
  auto* address = reinterpret_cast<void*>(block->address);
  host_results().add(address, block);
  return {address, address, free_or_fail, c10::Device(c10::DeviceType::CPU)};
}

bool is_host_result(const c10::DataPtr& data) {
  return data.get_deleter() == free_or_fail;
}

c10::DataPtr to_device(c10::DataPtr host_result) {
  Block* block = host_results().take(host_result.release_context());
  return {reinterpret_cast<void*>(block->address),
          block,
          free_block,
          {c10::DeviceType::PrivateUse1, block->device}};
}

bool free_host_result(void* address) {
  Block* block = host_results().take(address);
  if (block) free_block(block);
  return block != nullptr;
}

Memory memory_of(const c10::DataPtr& data) {
  if (data.get_deleter() == free_block) return *static_cast<Block*>(data.get_context());
  if (data.get_deleter() == detach) return *static_cast<Memory*>(data.get_context());
  if (!data.get()) return {};
  const auto address = reinterpret_cast<uintptr_t>(data.get());
  // Others may have what was a tensor's there: which of them is meant, nobody knows.
  for (Pool* pool : used_pools()) {
    TORCH_CHECK(!pool->is_of_closed_runtime(address), "nkipy: at the address ",
                data.get(),
                " are tensors of a runtime that was closed, and others may "
                "have taken their place: the runtime is closed for those");
  }
  const Memory found = find_memory(address);
  TORCH_CHECK(found.tensor, "nkipy: a storage says that it is on ", data.device(),
              ", and at its address ", data.get(), " is no memory of a core");
  return found;
}

namespace {

Memory from(uintptr_t address, Memory memory) {
  const size_t before = address - memory.address;
  memory.offset += before;
  memory.size -= before;
  memory.address = address;
  return memory;
}

}  // namespace

Memory find_memory(uintptr_t address) {
  require_not_forked();
  for (Pool* pool : used_pools()) {
    if (const auto found = pool->find(address)) return from(address, *found);
  }
  std::lock_guard lock(attached_mutex);
  for (const Memory* memory : attached()) {
    if (address - memory->address < memory->size) return from(address, *memory);
  }
  return {};
}

Access::Access(const Memory& memory) {
  if (!memory.tensor) return;
  require_not_forked();
  check(spike().tensor_enter(memory.tensor), "use a tensor");
  tensor_ = memory.tensor;
  note_access(+1);
}

void require_alive(const Memory& memory) { Access access(memory); }

}  // namespace spike_torch
