// One sparse memory file that this process and the engine's child both map.
//
// Nothing has to be announced to the child when a tensor comes or goes: an offset says
// it all. Blocks that are free hold zeros and, by whole pages, no memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "memory.h"
#include "status.h"

namespace emulator {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = 4096;

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

constexpr std::size_t unit_for(std::size_t size) {
  return size >= kPage ? kPage : kAlignment;
}

/// Free stretches of [0, extent), by offset; neighbours are merged.
class FreeList {
 public:
  explicit FreeList(std::size_t extent) { blocks_[0] = extent; }

  /// The first stretch that fits. False if there is none.
  bool take(std::size_t size, std::size_t alignment, std::size_t* offset) {
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
      const std::size_t start = round_up(block->first, alignment);
      const std::size_t end = block->first + block->second;
      if (start > end || size > end - start) continue;
      cut(block, start, start + size);
      *offset = start;
      return true;
    }
    return false;
  }

  void give_back(std::size_t offset, std::size_t size) {
    auto next = blocks_.lower_bound(offset);
    if (next != blocks_.end() && next->first == offset + size) {
      size += next->second;
      next = blocks_.erase(next);
    }
    if (next != blocks_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += size;
        return;
      }
    }
    blocks_.emplace(offset, size);
  }

 private:
  using Blocks = std::map<std::size_t, std::size_t>;

  /// Keeps of a stretch what lies before `start` and after `end`.
  void cut(Blocks::iterator block, std::size_t start, std::size_t end) {
    const std::size_t first = block->first;
    const std::size_t last = first + block->second;
    if (end < last) blocks_.emplace(end, last - end);
    if (first < start) {
      block->second = start - first;
    } else {
      blocks_.erase(block);
    }
  }

  Blocks blocks_;
};

class SharedBacking final : public Backing {
 public:
  explicit SharedBacking(std::size_t extent) : extent_(extent), free_(extent) {
    descriptor_ = memfd_create("nkipy-emulator-hbm", MFD_CLOEXEC);
    if (descriptor_ < 0 || ftruncate(descriptor_, static_cast<off_t>(extent)) != 0) {
      fail("cannot make a memory file");
    }
    void* base = mmap(nullptr, extent, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, descriptor_, 0);
    if (base == MAP_FAILED) fail("cannot map the memory file");
    base_ = static_cast<std::byte*>(base);
  }

  ~SharedBacking() override {
    munmap(base_, extent_);
    close(descriptor_);
  }

  std::byte* allocate(std::size_t size) noexcept override {
    if (size > extent_)
      return nullptr;  // before it is rounded up, which could overflow
    try {
      const std::size_t unit = unit_for(size);
      std::size_t offset = 0;
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.take(round_up(size, unit), unit, &offset)) return nullptr;
      return base_ + offset;
    } catch (...) {  // no memory for the list
      return nullptr;
    }
  }

  void free(std::byte* data, std::size_t size) noexcept override {
    const std::size_t rounded = round_up(size, unit_for(size));
    clear(data, rounded);
    try {
      std::lock_guard<std::mutex> lock(mutex_);
      free_.give_back(static_cast<std::size_t>(data - base_), rounded);
    } catch (...) {  // no memory for the list: the stretch is lost, and nothing else
    }
  }

  int descriptor() const noexcept override { return descriptor_; }
  std::size_t extent() const noexcept override { return extent_; }
  std::uint64_t shared_offset(const std::byte* data) const noexcept override {
    return static_cast<std::uint64_t>(data - base_);
  }

 private:
  [[noreturn]] void fail(const char* what) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) close(descriptor_);
    throw StatusError(NRT_RESOURCE, std::string(what) + " of " +
                                        std::to_string(extent_) +
                                        " bytes for the HBM of all cores: " + reason +
                                        " (NKIPY_EMULATOR_HBM_BYTES makes it smaller)");
  }

  /// Zeros. Whole pages are handed back to the kernel instead of written.
  void clear(std::byte* data, std::size_t size) noexcept {
    const auto offset = static_cast<std::size_t>(data - base_);
    const std::size_t first = round_up(offset, kPage);
    const std::size_t last = (offset + size) / kPage * kPage;
    if (first >= last || !punch(first, last - first)) {
      std::memset(data, 0, size);
      return;
    }
    std::memset(data, 0, first - offset);
    std::memset(base_ + last, 0, offset + size - last);
  }

  bool punch(std::size_t offset, std::size_t size) noexcept {
    return fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(offset), static_cast<off_t>(size)) == 0;
  }

  const std::size_t extent_;
  int descriptor_ = -1;
  std::byte* base_ = nullptr;
  std::mutex mutex_;
  FreeList free_;
};

}  // namespace

std::shared_ptr<Backing> make_shared_backing(std::size_t extent) {
  return std::make_shared<SharedBacking>(extent);
}

}  // namespace emulator
