// Memory of tensors: capacity per core, and refcounted storage.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "waiting.h"

namespace emulator {

/// Counts the bytes that one logical core's HBM holds.
class HbmPool {
 public:
  explicit HbmPool(std::size_t limit) : limit_(limit) {}

  /// False, and nothing reserved, if less than `bytes` is free.
  bool reserve(std::size_t bytes) noexcept;
  void release(std::size_t bytes) noexcept { used_.fetch_sub(bytes); }
  std::size_t used() const noexcept { return used_.load(); }
  std::size_t limit() const noexcept { return limit_; }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

/// Where bytes come from: this process's own memory, or memory that a child shares.
/// Every block is zero at first, without having been touched; 64-byte aligned, and
/// page aligned from one page on.
class Backing {
 public:
  static constexpr std::uint64_t kNotShared = ~std::uint64_t{0};

  virtual ~Backing() = default;
  /// Null if there is no more.
  virtual std::byte* allocate(std::size_t size) noexcept = 0;
  virtual void free(std::byte* data, std::size_t size) noexcept = 0;
  /// The file that a child maps, or -1.
  virtual int descriptor() const noexcept { return -1; }
  /// How many bytes of the file to map.
  virtual std::size_t extent() const noexcept { return 0; }
  /// Where in the file a block lies, or kNotShared.
  virtual std::uint64_t shared_offset(const std::byte*) const noexcept {
    return kNotShared;
  }
};

/// Blocks of this process alone.
std::shared_ptr<Backing> make_private_backing();

/// Blocks in one sparse memory file, mapped once here and once in the child. `extent`
/// is how far it may grow. Throws StatusError(NRT_RESOURCE).
std::shared_ptr<Backing> make_shared_backing(std::size_t extent);

class Storage;

/// Finds device storage by address. Shared with the storages, which take themselves
/// out.
class AddressIndex {
 public:
  void add(const std::shared_ptr<Storage>& storage);
  void remove(const std::byte* data) noexcept;
  /// The storage that holds all of [address, address + size), or null.
  std::shared_ptr<Storage> find(const void* address, std::size_t size) const;

 private:
  mutable std::shared_mutex mutex_;
  std::map<const std::byte*, std::weak_ptr<Storage>> by_address_;
};

/// Bytes of a tensor and of its slices. Freed when the last of them, and the last
/// execution using them, is gone.
class Storage {
 public:
  /// A fresh block of `backing`. Throws StatusError(NRT_RESOURCE).
  Storage(std::shared_ptr<Backing> backing, std::size_t size);
  /// Memory of the caller's.
  Storage(std::byte* borrowed, std::size_t size) noexcept;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  /// The core whose HBM it is in (counted within the process), or -1.
  int core() const noexcept { return core_; }
  bool on_device() const noexcept { return core_ >= 0; }
  /// Where the child finds it, or Backing::kNotShared: then copies are needed.
  std::uint64_t shared_offset() const noexcept { return shared_offset_; }
  UseTracker& uses() noexcept { return uses_; }

 private:
  friend class Memory;

  std::shared_ptr<Backing> backing_;  // null when borrowed
  std::byte* data_;
  std::size_t size_;
  std::uint64_t shared_offset_ = Backing::kNotShared;
  int core_ = -1;
  std::shared_ptr<HbmPool> pool_;        // null on the host
  std::shared_ptr<AddressIndex> index_;  // null on the host
  UseTracker uses_;
};

/// Allocates storage, and finds it again by address.
class Memory {
 public:
  explicit Memory(std::shared_ptr<Backing> backing) : backing_(std::move(backing)) {}

  /// Throws StatusError(NRT_RESOURCE) if the core's HBM or the machine is full.
  std::shared_ptr<Storage> allocate_device(std::size_t size, int core,
                                           const std::shared_ptr<HbmPool>& pool);
  std::shared_ptr<Storage> allocate_host(std::size_t size);
  /// The device storage that holds all of [address, address + size), or null.
  std::shared_ptr<Storage> find_device(const void* address, std::size_t size) const {
    return index_->find(address, size);
  }
  const Backing& backing() const noexcept { return *backing_; }

 private:
  std::shared_ptr<Backing> backing_;
  std::shared_ptr<AddressIndex> index_ = std::make_shared<AddressIndex>();
};

}  // namespace emulator
