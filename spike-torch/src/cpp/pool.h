// Device memory: segments of it that libnrt allocates, and blocks of these in a pool.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Device.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "runtime.h"

namespace spike_torch {

using Stats = c10::CachingDeviceAllocator::DeviceStats;

/// A part of a core's memory that a storage of torch's is on, the context of its
/// DataPtr. `tensor` is what libnrt knows it by, or a larger one that it lies in.
struct Memory {
  SpikeTensor* tensor = nullptr;
  size_t offset = 0;  // in bytes, of `tensor`
  size_t size = 0;    // in bytes
  uintptr_t address = 0;
  c10::DeviceIndex device = 0;
};

struct Segment;

/// A part of a segment: in use, or free to be used. Neighbours are by address.
struct Block : Memory {
  Segment* segment = nullptr;
  size_t requested = 0;
  bool in_use = false;
  bool is_set_aside = false;  // to be used again as it is
  Block *previous = nullptr, *next = nullptr;
};

/// What libnrt allocated, with a share of it, and the blocks that it is divided into.
struct Segment {
  SpikeTensor* tensor;
  uintptr_t address;
  size_t size;
  bool is_large;
  Block* first;  // by address
  size_t blocks = 1;
  size_t used = 0;  // of them, those in use
  size_t used_bytes = 0;
  bool is_dead = false;  // its runtime was closed

  Segment(Block* whole, bool is_large);
  Segment(const Segment&) = delete;
  ~Segment();
};

/// What one core's memory is used for. All methods may be called by any thread.
///
/// Small blocks (to 1 MiB) are parts of segments of 2 MiB, others of 20 MiB or more, as
/// torch's pools for other devices do. A block that is free is used again for what fits
/// into it; of one that is much larger a part is. Freed neighbours become one.
///
/// In a process that was forked from one that had used it, another thread of which may
/// have had the lock, `free` does nothing and all others raise.
class Pool {
 public:
  explicit Pool(c10::DeviceIndex device) : device_(device) {}

  /// A block of `size` bytes, more than 0. Raises torch.OutOfMemoryError, after having
  /// emptied the pool, and RuntimeError if there is no runtime to be had.
  Block* allocate(size_t size);
  void free(Block* block);

  /// Gives segments that nothing of is in use back to libnrt until no more than
  /// `target` bytes are reserved. How many bytes it gave.
  size_t trim(size_t target);
  /// No more than so many bytes are to be reserved.
  void set_limit(std::optional<size_t> bytes);

  /// The block in use that has an address in it.
  std::optional<Memory> find(uintptr_t address);
  /// Whether tensors that are still there had an address, of a runtime that was closed.
  bool is_of_closed_runtime(uintptr_t address);

  Stats stats();
  void reset_accumulated();
  void reset_peak();
  size_t free_blocks();
  std::vector<c10::CachingDeviceAllocator::SegmentInfo> snapshot();

 private:
  struct BySize {
    bool operator()(const Block* one, const Block* other) const {
      return std::pair(one->size, one->address) <
             std::pair(other->size, other->address);
    }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  Locked locked();
  std::vector<Block*>* aside(size_t size);
  Block* take_aside(size_t size);
  void join_aside();
  Block* take_free(size_t size, bool is_large, bool of_any_size = false);
  Block* take_new(size_t size, bool is_large, int* status, Locked* lock);
  void split(Block* block, size_t size);
  void join(Block* block, Block* next);
  void put_free(Block* block);
  void forget_dead();
  struct LeftOver;
  template <class Change>
  void change(Segment& segment, Change make);
  void retire(Segment* segment);
  size_t give_back(size_t target);
  [[noreturn]] void raise_out_of_memory(size_t size, int status, Locked* lock);
  FreeBlocks& free_of(const Segment& segment);

  const c10::DeviceIndex device_;
  std::mutex mutex_;
  FreeBlocks small_, large_;
  // Small blocks that were freed, by size, so that what is made and freed again and
  // again finds one. They become parts of larger ones when nothing else fits.
  std::array<std::vector<Block*>, 64> aside_;
  std::map<uintptr_t, std::unique_ptr<Segment>> segments_;  // by address
  // Of a runtime that was closed, with blocks that are still in use.
  std::vector<std::unique_ptr<Segment>> dead_;
  std::optional<size_t> limit_;
  size_t coming_ = 0;  // bytes that are being allocated
  Stats stats_{};
};

/// The pool of a core, which lives as long as the process.
Pool& pool_of(c10::DeviceIndex device);
/// Those that this process has used.
std::vector<Pool*> used_pools();

}  // namespace spike_torch
