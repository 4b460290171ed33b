// Handles given to the caller: numbers that are never used twice, not addresses.
//
// A freed, foreign or mistyped handle is thus recognised, whatever its value.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "nrt/nrt_status.h"
#include "status.h"

namespace emulator {

/// The next number of the process: handles of an earlier session are not reused either.
std::uint64_t next_handle_number() noexcept;

/// Objects of one type, by handle. `T::kHandleTag` (1 to 255) tells types apart;
/// `T::kHandleName` is for messages. Safe to use from many threads.
template <typename T>
class HandleTable {
 public:
  void* insert(std::shared_ptr<T> object) {
    const std::uintptr_t handle = make_handle();
    Shard& shard = shard_of(handle);
    std::unique_lock<std::shared_mutex> lock(shard.mutex);
    shard.objects.emplace(handle, std::move(object));
    return reinterpret_cast<void*>(handle);
  }

  /// The object, or null if the handle names none.
  std::shared_ptr<T> find(const void* handle) const {
    const auto key = reinterpret_cast<std::uintptr_t>(handle);
    const Shard& shard = shard_of(key);
    std::shared_lock<std::shared_mutex> lock(shard.mutex);
    const auto found = shard.objects.find(key);
    return found == shard.objects.end() ? nullptr : found->second;
  }

  /// Throws StatusError: NRT_INVALID for null, NRT_INVALID_HANDLE if it names nothing.
  std::shared_ptr<T> get(const void* handle) const {
    require(handle != nullptr, "a handle is NULL");
    auto object = find(handle);
    if (!object) throw_unknown();
    return object;
  }

  /// Forgets the handle; returns what it named, or null.
  std::shared_ptr<T> take(const void* handle) {
    const auto key = reinterpret_cast<std::uintptr_t>(handle);
    Shard& shard = shard_of(key);
    std::unique_lock<std::shared_mutex> lock(shard.mutex);
    const auto found = shard.objects.find(key);
    if (found == shard.objects.end()) return nullptr;
    auto object = std::move(found->second);
    shard.objects.erase(found);
    return object;
  }

  /// Every object at this moment.
  std::vector<std::shared_ptr<T>> all() const {
    std::vector<std::shared_ptr<T>> objects;
    for (const Shard& shard : shards_) {
      std::shared_lock<std::shared_mutex> lock(shard.mutex);
      for (const auto& entry : shard.objects) objects.push_back(entry.second);
    }
    return objects;
  }

  void clear() {
    for (Shard& shard : shards_) {
      std::unordered_map<std::uintptr_t, std::shared_ptr<T>> doomed;
      std::unique_lock<std::shared_mutex> lock(shard.mutex);
      doomed.swap(shard.objects);
      lock.unlock();  // destructors run without the lock
    }
  }

 private:
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<std::uintptr_t, std::shared_ptr<T>> objects;
  };

  static constexpr std::size_t kShards = 16;
  static constexpr int kLowBits = 4;

  static std::uintptr_t make_handle() noexcept {
    const auto tag = static_cast<std::uintptr_t>(T::kHandleTag) << 48;
    return tag | static_cast<std::uintptr_t>(next_handle_number() << kLowBits);
  }

  [[noreturn]] static void throw_unknown() {
    throw StatusError(NRT_INVALID_HANDLE, std::string("the handle names no ") +
                                              T::kHandleName +
                                              " (freed, or never one)");
  }

  Shard& shard_of(std::uintptr_t handle) noexcept {
    return shards_[(handle >> kLowBits) % kShards];
  }
  const Shard& shard_of(std::uintptr_t handle) const noexcept {
    return shards_[(handle >> kLowBits) % kShards];
  }

  std::array<Shard, kShards> shards_;
};

}  // namespace emulator
