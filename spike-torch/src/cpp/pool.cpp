#include "pool.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <sstream>

#include "prepared_calls.h"

namespace spike_torch {

Segment::Segment(Block* whole, bool is_large)
    : tensor(whole->tensor),
      address(whole->address),
      size(whole->size),
      is_large(is_large),
      first(whole) {}

Segment::~Segment() {
  for (Block* block = first; block;) delete std::exchange(block, block->next);
  spike().tensor_release(tensor);
}

namespace {

using c10::CachingAllocator::StatArray;
using c10::CachingAllocator::StatType;

constexpr size_t kGrain = 512;
constexpr size_t kSmall = 1 << 20;  // at most so large
constexpr size_t kSmallSegment = 2 << 20;
constexpr size_t kLargeSegment = 20 << 20;
constexpr size_t kOwnSegment = 10 << 20;  // from here on a segment each
constexpr size_t kRoundSegment = 2 << 20;

size_t round_up(size_t size, size_t grain) {
  return (size + grain - 1) / grain * grain;
}

size_t segment_size(size_t size) {
  if (size <= kSmall) return kSmallSegment;
  return size < kOwnSegment ? kLargeSegment : round_up(size, kRoundSegment);
}

template <class Do>
void each_kind(StatArray& array, bool is_large, Do act) {
  act(array[static_cast<size_t>(StatType::AGGREGATE)]);
  act(array[static_cast<size_t>(is_large ? StatType::LARGE_POOL
                                         : StatType::SMALL_POOL)]);
}

void more(StatArray& array, bool is_large, size_t amount) {
  each_kind(array, is_large, [&](auto& stat) { stat.increase(amount); });
}

void less(StatArray& array, bool is_large, size_t amount) {
  each_kind(array, is_large, [&](auto& stat) { stat.decrease(amount); });
}

bool is_alive(const Segment& segment) {
  if (spike().tensor_enter(segment.tensor) != SPIKE_NRT_SUCCESS) return false;
  spike().tensor_leave(segment.tensor);
  return true;
}

std::string in_bytes(size_t size) {
  std::ostringstream text;
  text.precision(2);
  text << std::fixed;
  if (size >= size_t{1} << 30) {
    text << static_cast<double>(size) / (1 << 30) << " GiB";
  } else if (size >= size_t{1} << 20) {
    text << static_cast<double>(size) / (1 << 20) << " MiB";
  } else {
    text << size << " bytes";
  }
  return text.str();
}

}  // namespace

Pool::FreeBlocks& Pool::free_of(const Segment& segment) {
  return segment.is_large ? large_ : small_;
}

Locked Pool::locked() {
  require_not_forked();
  return Locked(mutex_);
}

// What a segment's free blocks are beside those in use: it cannot be given back.
struct Pool::LeftOver {
  explicit LeftOver(const Segment& segment)
      : blocks(segment.used ? segment.blocks - segment.used : 0),
        bytes(segment.used ? segment.size - segment.used_bytes : 0) {}
  size_t blocks, bytes;
};

// Makes a change, and counts what is left over beside what was.
template <class Change>
void Pool::change(Segment& segment, Change make) {
  const LeftOver before(segment);
  make();
  const LeftOver now(segment);
  const auto count = [&](StatArray& array, size_t was, size_t is) {
    if (is > was) more(array, segment.is_large, is - was);
    if (is < was) less(array, segment.is_large, was - is);
  };
  count(stats_.inactive_split, before.blocks, now.blocks);
  count(stats_.inactive_split_bytes, before.bytes, now.bytes);
}

Block* Pool::allocate(size_t size) {
  const size_t requested = size;
  // No core has as much, and what follows counts beyond it.
  constexpr size_t most = std::numeric_limits<size_t>::max() / 4;
  Locked lock = locked();
  if (size > most) raise_out_of_memory(size, SPIKE_NRT_RESOURCE, &lock);
  size = round_up(size, kGrain);
  const bool is_large = size > kSmall;
  Block* block = take_aside(size);
  if (!block) block = take_free(size, is_large);
  if (!block) {
    join_aside();
    block = take_free(size, is_large);
  }
  if (!block) {
    int status = SPIKE_NRT_SUCCESS;
    block = take_new(size, is_large, &status, &lock);
    if (!block && status == SPIKE_NRT_RESOURCE) {
      ++stats_.num_alloc_retries;
      give_back(0);
      block = take_new(size, is_large, &status, &lock);
      if (!block && status == SPIKE_NRT_RESOURCE)
        block = take_free(size, is_large, /*of_any_size=*/true);
    }
    if (!block) raise_out_of_memory(requested, status, &lock);
  }
  split(block, size);
  block->in_use = true;
  block->requested = requested;
  change(*block->segment, [&] {
    ++block->segment->used;
    block->segment->used_bytes += block->size;
  });
  more(stats_.allocation, is_large, 1);
  more(stats_.active, is_large, 1);
  more(stats_.allocated_bytes, is_large, block->size);
  more(stats_.active_bytes, is_large, block->size);
  more(stats_.requested_bytes, is_large, requested);
  return block;
}

// Where blocks of a size are set aside; null if such are not.
std::vector<Block*>* Pool::aside(size_t size) {
  const size_t place = size / kGrain - 1;
  return place < aside_.size() ? &aside_[place] : nullptr;
}

Block* Pool::take_aside(size_t size) {
  std::vector<Block*>* blocks = aside(size);
  if (!blocks || blocks->empty()) return nullptr;
  Block* block = blocks->back();
  if (!is_alive(*block->segment)) {
    forget_dead();
    return nullptr;
  }
  blocks->pop_back();
  block->is_set_aside = false;
  return block;
}

void Pool::join_aside() {
  for (auto& blocks : aside_) {
    for (Block* block : std::exchange(blocks, {})) {
      block->is_set_aside = false;
      put_free(block);
    }
  }
}

Block* Pool::take_free(size_t size, bool is_large, bool of_any_size) {
  FreeBlocks& blocks = is_large ? large_ : small_;
  Block wanted;
  wanted.size = size;
  wanted.address = 0;
  auto found = blocks.lower_bound(&wanted);
  // What has a segment of its own would be wasted on what is much smaller.
  if (found == blocks.end() || (is_large && !of_any_size && size < kOwnSegment &&
                                (*found)->size > 2 * kLargeSegment)) {
    return nullptr;
  }
  if (!is_alive(*(*found)->segment)) {
    forget_dead();
    return nullptr;
  }
  Block* block = *found;
  blocks.erase(found);
  return block;
}

// Others use the pool meanwhile: to allocate may open a runtime, which waits until one
// that is closing is closed, and that for operations that need the pool.
Block* Pool::take_new(size_t size, bool is_large, int* status, Locked* lock) {
  const size_t whole = segment_size(size);
  const auto reserved =
      static_cast<size_t>(
          stats_.reserved_bytes[static_cast<size_t>(StatType::AGGREGATE)].current) +
      coming_;
  if (limit_ && (whole > *limit_ || reserved > *limit_ - whole)) {
    *status = SPIKE_NRT_RESOURCE;
    return nullptr;
  }
  require_not_closing();
  SpikeTensor* tensor = nullptr;
  coming_ += whole;
  lock->unlock();
  *status = spike().tensor_allocate(whole, device_, "torch", &tensor);
  lock->lock();
  coming_ -= whole;
  if (*status != SPIKE_NRT_SUCCESS) return nullptr;
  SpikeTensorInfo info;
  *status = spike().tensor_info(tensor, &info);
  if (*status != SPIKE_NRT_SUCCESS || info.is_freed) {
    spike().tensor_release(tensor);
    if (*status == SPIKE_NRT_SUCCESS) *status = SPIKE_ERROR;
    return nullptr;
  }
  // A runtime that was closed may have had memory at this address.
  forget_dead();
  auto block = std::make_unique<Block>();
  static_cast<Memory&>(*block) = {tensor, 0, whole, info.address, device_};
  auto segment = std::make_unique<Segment>(block.get(), is_large);
  block->segment = segment.get();
  segments_[info.address] = std::move(segment);
  ++stats_.num_device_alloc;
  more(stats_.segment, is_large, 1);
  more(stats_.reserved_bytes, is_large, whole);
  return block.release();
}

void Pool::split(Block* block, size_t size) {
  Segment& segment = *block->segment;
  const size_t rest = block->size - size;
  if (rest < kGrain || (segment.is_large && rest <= kSmall)) return;
  auto* after = new Block;
  static_cast<Memory&>(*after) = {block->tensor, block->offset + size, rest,
                                  block->address + size, device_};
  after->segment = &segment;
  after->previous = block;
  after->next = std::exchange(block->next, after);
  if (after->next) after->next->previous = after;
  block->size = size;
  change(segment, [&] { ++segment.blocks; });
  free_of(segment).insert(after);
}

void Pool::join(Block* block, Block* next) {
  block->size += next->size;
  block->next = next->next;
  if (block->next) block->next->previous = block;
  change(*block->segment, [&] { --block->segment->blocks; });
  delete next;
}

void Pool::free(Block* block) {
  if (is_forked()) return;  // another thread of the parent may have had the lock
  const Locked lock(mutex_);
  Segment& segment = *block->segment;
  const auto let_go = [&] {
    block->in_use = false;
    --segment.used;
    segment.used_bytes -= block->size;
  };
  if (segment.is_dead) {
    let_go();
    if (segment.used != 0) return;
    for (auto it = dead_.begin(); it != dead_.end(); ++it) {
      if (it->get() != &segment) continue;
      dead_.erase(it);
      return;
    }
  }
  change(segment, let_go);
  less(stats_.allocation, segment.is_large, 1);
  less(stats_.active, segment.is_large, 1);
  less(stats_.allocated_bytes, segment.is_large, block->size);
  less(stats_.active_bytes, segment.is_large, block->size);
  less(stats_.requested_bytes, segment.is_large, block->requested);
  constexpr size_t most_aside = 64;
  std::vector<Block*>* blocks = segment.is_large ? nullptr : aside(block->size);
  if (blocks && blocks->size() < most_aside) {
    block->is_set_aside = true;
    blocks->push_back(block);
  } else {
    put_free(block);
  }
}

// Makes one block of it and of its neighbours that are free.
void Pool::put_free(Block* block) {
  FreeBlocks& blocks = free_of(*block->segment);
  const auto is_free = [](const Block* other) {
    return other && !other->in_use && !other->is_set_aside;
  };
  if (Block* next = block->next; is_free(next)) {
    blocks.erase(next);
    join(block, next);
  }
  if (Block* before = block->previous; is_free(before)) {
    blocks.erase(before);
    join(before, block);
    block = before;
  }
  blocks.insert(block);
}

// Takes a segment out of the pool, with all that is counted of it.
void Pool::retire(Segment* segment) {
  forget_calls_on(segment->address, segment->size);
  for (Block* block = segment->first; block; block = block->next) {
    if (!block->in_use) {
      free_of(*segment).erase(block);
      continue;
    }
    less(stats_.allocation, segment->is_large, 1);
    less(stats_.active, segment->is_large, 1);
    less(stats_.allocated_bytes, segment->is_large, block->size);
    less(stats_.active_bytes, segment->is_large, block->size);
    less(stats_.requested_bytes, segment->is_large, block->requested);
  }
  const LeftOver left(*segment);
  less(stats_.inactive_split, segment->is_large, left.blocks);
  less(stats_.inactive_split_bytes, segment->is_large, left.bytes);
  ++stats_.num_device_free;
  less(stats_.segment, segment->is_large, 1);
  less(stats_.reserved_bytes, segment->is_large, segment->size);
}

// Segments of a runtime that was closed.
void Pool::forget_dead() {
  join_aside();
  for (auto it = segments_.begin(); it != segments_.end();) {
    if (is_alive(*it->second)) {
      ++it;
      continue;
    }
    retire(it->second.get());
    it->second->is_dead = true;
    if (it->second->used != 0) dead_.push_back(std::move(it->second));
    it = segments_.erase(it);
  }
}

size_t Pool::give_back(size_t target) {
  join_aside();
  const auto& reserved =
      stats_.reserved_bytes[static_cast<size_t>(StatType::AGGREGATE)].current;
  size_t given = 0;
  for (auto it = segments_.begin(); it != segments_.end();) {
    if (it->second->used != 0 || static_cast<size_t>(reserved) <= target) {
      ++it;
      continue;
    }
    given += it->second->size;
    retire(it->second.get());
    it = segments_.erase(it);
  }
  return given;
}

size_t Pool::trim(size_t target) {
  const Locked lock = locked();
  return give_back(target);
}

void Pool::set_limit(std::optional<size_t> bytes) {
  const Locked lock = locked();
  limit_ = bytes;
}

std::optional<Memory> Pool::find(uintptr_t address) {
  const Locked lock = locked();
  auto after = segments_.upper_bound(address);
  if (after == segments_.begin()) return std::nullopt;
  const Segment& segment = *std::prev(after)->second;
  if (address - segment.address >= segment.size || !is_alive(segment))
    return std::nullopt;
  for (const Block* block = segment.first; block; block = block->next) {
    if (address - block->address < block->size && block->in_use) return *block;
  }
  return std::nullopt;
}

bool Pool::is_of_closed_runtime(uintptr_t address) {
  const Locked lock(mutex_);
  return std::any_of(dead_.begin(), dead_.end(), [&](const auto& segment) {
    return address - segment->address < segment->size;
  });
}

Stats Pool::stats() {
  const Locked lock = locked();
  return stats_;
}

namespace {

template <class Do>
void each_array(Stats& stats, Do act) {
  for (StatArray* array :
       {&stats.allocation, &stats.segment, &stats.active, &stats.inactive_split,
        &stats.allocated_bytes, &stats.reserved_bytes, &stats.active_bytes,
        &stats.inactive_split_bytes, &stats.requested_bytes}) {
    for (auto& stat : *array) act(stat);
  }
}

}  // namespace

void Pool::reset_accumulated() {
  const Locked lock = locked();
  each_array(stats_, [](auto& stat) { stat.reset_accumulated(); });
  stats_.num_alloc_retries = stats_.num_ooms = 0;
  stats_.num_device_alloc = stats_.num_device_free = 0;
}

void Pool::reset_peak() {
  const Locked lock = locked();
  each_array(stats_, [](auto& stat) { stat.reset_peak(); });
}

size_t Pool::free_blocks() {
  const Locked lock = locked();
  size_t found = small_.size() + large_.size();
  for (const auto& blocks : aside_) found += blocks.size();
  return found;
}

std::vector<c10::CachingDeviceAllocator::SegmentInfo> Pool::snapshot() {
  const Locked lock = locked();
  std::vector<c10::CachingDeviceAllocator::SegmentInfo> found;
  for (const auto& [address, segment] : segments_) {
    auto& info = found.emplace_back();
    info.device = device_;
    info.address = address;
    info.total_size = segment->size;
    info.is_large = segment->is_large;
    for (const Block* block = segment->first; block; block = block->next) {
      auto& part = info.blocks.emplace_back();
      part.size = block->size;
      part.allocated = part.active = block->in_use;
      if (!block->in_use) continue;
      part.requested_size = block->requested;
      info.requested_size += block->requested;
      info.allocated_size += block->size;
    }
    info.active_size = info.allocated_size;
  }
  return found;
}

void Pool::raise_out_of_memory(size_t size, int status, Locked* lock) {
  const std::string why = spike().last_error();
  if (status != SPIKE_NRT_RESOURCE)
    TORCH_CHECK(false, "nkipy: unable to allocate ", size,
                " bytes on nkipy:", static_cast<int>(device_), ": ", why);
  ++stats_.num_ooms;
  const auto figure = [](const StatArray& array) {
    return in_bytes(static_cast<size_t>(array[0].current));
  };
  const std::string allocated = figure(stats_.allocated_bytes),
                    reserved = figure(stats_.reserved_bytes);
  const std::optional<size_t> limit = limit_;
  lock->unlock();  // as for allocating
  require_not_closing();
  size_t used = 0, total = 0;
  std::ostringstream free;
  if (spike().memory_stats(static_cast<uint32_t>(device_), &used, &total) ==
          SPIKE_NRT_SUCCESS &&
      used <= total) {
    free << ", of whose " << in_bytes(total) << " " << in_bytes(total - used)
         << " are free";
  }
  if (limit) free << " (this process may reserve " << in_bytes(*limit) << ")";
  TORCH_CHECK_WITH(OutOfMemoryError, false, "nkipy out of memory. Tried to allocate ",
                   in_bytes(size), " on nkipy:", static_cast<int>(device_), free.str(),
                   ". Tensors of this process take ", allocated, " of ", reserved,
                   " that it has reserved, after what was free of them was given back");
}

namespace {

std::array<std::atomic<Pool*>, kMostDevices> pools{};

}  // namespace

Pool& pool_of(c10::DeviceIndex device) {
  std::atomic<Pool*>& place = pools.at(static_cast<size_t>(device));
  if (Pool* pool = place.load(std::memory_order_acquire)) return *pool;
  note_use();
  auto made = std::make_unique<Pool>(device);
  Pool* expected = nullptr;
  if (place.compare_exchange_strong(expected, made.get())) return *made.release();
  return *expected;
}

std::vector<Pool*> used_pools() {
  std::vector<Pool*> found;
  if (is_forked()) return found;  // it has none, and the parent's may be locked
  for (const auto& place : pools) {
    if (Pool* pool = place.load()) found.push_back(pool);
  }
  return found;
}

}  // namespace spike_torch
