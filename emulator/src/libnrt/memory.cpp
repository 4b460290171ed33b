#include "memory.h"

#include "status.h"

namespace emulator {

bool HbmPool::reserve(std::size_t bytes) noexcept {
  std::size_t used = used_.load();
  do {
    if (bytes > limit_ - used) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes));
  return true;
}

void AddressIndex::add(const std::shared_ptr<Storage>& storage) {
  std::unique_lock<std::shared_mutex> lock(mutex_);
  by_address_[storage->data()] = storage;
}

void AddressIndex::remove(const std::byte* data) noexcept {
  std::unique_lock<std::shared_mutex> lock(mutex_);
  by_address_.erase(data);
}

std::shared_ptr<Storage> AddressIndex::find(const void* address,
                                            std::size_t size) const {
  const auto* wanted = static_cast<const std::byte*>(address);
  std::shared_lock<std::shared_mutex> lock(mutex_);
  auto entry = by_address_.upper_bound(wanted);
  if (entry == by_address_.begin()) return nullptr;
  --entry;
  auto storage = entry->second.lock();
  if (!storage) return nullptr;
  const auto offset = static_cast<std::size_t>(wanted - storage->data());
  if (offset > storage->size() || size > storage->size() - offset) return nullptr;
  return storage;
}

Storage::Storage(std::shared_ptr<Backing> backing, std::size_t size)
    : backing_(std::move(backing)), data_(backing_->allocate(size)), size_(size) {
  if (!data_) {
    throw StatusError(NRT_RESOURCE, "the machine has no memory for a tensor of " +
                                        std::to_string(size) + " bytes");
  }
  shared_offset_ = backing_->shared_offset(data_);
}

Storage::Storage(std::byte* borrowed, std::size_t size) noexcept
    : data_(borrowed), size_(size) {}

Storage::~Storage() {
  // Out of the index first: the address may be another's as soon as it is free.
  if (index_) index_->remove(data_);
  if (backing_) backing_->free(data_, size_);
  if (pool_) pool_->release(size_);
}

namespace {

[[noreturn]] void fail_for_full_hbm(std::size_t size, int core, const HbmPool& pool) {
  throw StatusError(NRT_RESOURCE,
                    "nc" + std::to_string(core) + " has no memory for a tensor of " +
                        std::to_string(size) +
                        " bytes: " + std::to_string(pool.used()) + " of " +
                        std::to_string(pool.limit()) + " bytes are in use");
}

}  // namespace

std::shared_ptr<Storage> Memory::allocate_device(std::size_t size, int core,
                                                 const std::shared_ptr<HbmPool>& pool) {
  if (!pool->reserve(size)) fail_for_full_hbm(size, core, *pool);
  std::shared_ptr<Storage> storage;
  try {
    storage = std::make_shared<Storage>(backing_, size);
  } catch (...) {
    pool->release(size);
    throw;
  }
  storage->core_ = core;
  storage->pool_ = pool;
  index_->add(storage);
  storage->index_ = index_;
  return storage;
}

std::shared_ptr<Storage> Memory::allocate_host(std::size_t size) {
  return std::make_shared<Storage>(backing_, size);
}

}  // namespace emulator
