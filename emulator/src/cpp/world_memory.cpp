#include "world_memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace nkipy {

struct WorldMemory::Header {
  std::atomic<uint32_t> ranks;   // 0 until the first who maps it has written it
  std::atomic<uint32_t> failed;  // 1: someone writes the reason; 2: it is there
  SharedText reason;
};

namespace {

constexpr size_t kPage = 4096;
constexpr long kLookEveryNs = 20'000'000;
// Where ranks share processors, those who have come let others go on, which takes less
// time than to sleep and be woken.
constexpr int kYields = 50;

// For what a rank sleeps. That `rank` had not done it, it has seen after the bell there
// had this value. `turn` tells two waits of a rank apart.
struct Wait {
  uint32_t rank, bell, turn;
};

constexpr int kTurnBits = 20;  // two that are as far apart are not mistaken in practice
static_assert(kMaxWorldRanks < 1 << (32 - kTurnBits));

// 0 is none.
uint64_t packed(const Wait& wait) {
  const uint32_t turn = wait.turn % (1 << kTurnBits);
  return uint64_t{(wait.rank + 1) << kTurnBits | turn} << 32 | wait.bell;
}

Wait unpacked(uint64_t word) {
  const auto high = static_cast<uint32_t>(word >> 32);
  return {(high >> kTurnBits) - 1, static_cast<uint32_t>(word),
          high % (1 << kTurnBits)};
}

size_t up_to_page(size_t size) { return (size + kPage - 1) / kPage * kPage; }

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Both between processes: without FUTEX_PRIVATE_FLAG.
void futex_wait(const std::atomic<uint32_t>& word, uint32_t value) {
  const timespec limit = {0, kLookEveryNs};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &limit, nullptr, 0);
}

void futex_wake(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

void prefer_large_pages(void* memory, size_t size) {
  constexpr uintptr_t kLargePage = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t end = (begin + size) / kLargePage * kLargePage;
  // That it can't be done changes nothing but the time.
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

void SharedText::set(std::string_view text) {
  char padded[kWorldTextBytes] = {};
  memcpy(padded, text.data(), std::min(text.size(), sizeof padded - 1));
  for (size_t i = 0; i < words_.size(); ++i) {
    uint64_t word;
    memcpy(&word, padded + i * sizeof word, sizeof word);
    words_[i].store(word, std::memory_order_relaxed);
  }
}

std::string SharedText::get() const {
  char padded[kWorldTextBytes];
  for (size_t i = 0; i < words_.size(); ++i) {
    const uint64_t word = words_[i].load(std::memory_order_relaxed);
    memcpy(padded + i * sizeof word, &word, sizeof word);
  }
  return {padded, strnlen(padded, sizeof padded)};
}

size_t WorldMemory::size_for(uint32_t ranks) {
  const size_t boards = up_to_page(sizeof(Header)) + up_to_page(ranks * sizeof(Board));
  return boards + size_t{ranks} * 2 * kSlotBytes;
}

WorldMemory::WorldMemory(int descriptor, uint32_t ranks)
    : ranks_(ranks), size_(size_for(ranks)) {
  if (ranks == 0 || ranks > kMaxWorldRanks) {
    throw std::invalid_argument("a world has 1 to " + std::to_string(kMaxWorldRanks) +
                                " ranks, not " + std::to_string(ranks));
  }
  struct stat status;
  if (fstat(descriptor, &status) != 0) {
    throw std::system_error(errno, std::generic_category(), "fstat");
  }
  if (static_cast<uint64_t>(status.st_size) < size_) {
    throw std::invalid_argument("the shared memory of a world is too small");
  }
  void* base = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (base == MAP_FAILED) {
    throw std::system_error(errno, std::generic_category(), "mmap");
  }
  base_ = static_cast<char*>(base);
  uint32_t there = 0;
  if (!header()->ranks.compare_exchange_strong(there, ranks) && there != ranks) {
    munmap(base_, size_);
    throw std::invalid_argument("the shared memory is that of a world of " +
                                std::to_string(there) + " ranks, not " +
                                std::to_string(ranks));
  }
}

WorldMemory::~WorldMemory() { munmap(base_, size_); }

WorldMemory::Header* WorldMemory::header() const {
  return reinterpret_cast<Header*>(base_);
}

Board& WorldMemory::board(uint32_t rank) const {
  char* boards = base_ + up_to_page(sizeof(Header));
  return reinterpret_cast<Board*>(boards)[rank];
}

char* WorldMemory::slot(uint32_t rank, uint64_t part) const {
  char* slots = base_ + size_ - size_t{ranks_} * 2 * kSlotBytes;
  return slots + (size_t{rank} * 2 + part % 2) * kSlotBytes;
}

void WorldMemory::fail(std::string_view reason) {
  uint32_t none = 0;
  if (!header()->failed.compare_exchange_strong(none, 1)) return;
  header()->reason.set(reason);
  header()->failed.store(2, std::memory_order_release);
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    ++board(rank).bell;
    futex_wake(board(rank).bell);
  }
}

bool WorldMemory::has_failed() const {
  return header()->failed.load(std::memory_order_acquire) != 0;
}

std::string WorldMemory::reason() const {
  // Who writes it may have died meanwhile.
  for (int i = 0; i < 100 && header()->failed.load(std::memory_order_acquire) == 1;
       ++i) {
    usleep(1000);
  }
  return header()->reason.get();
}

void WorldMemory::lose(uint32_t rank) {
  board(rank).is_gone = 1;
  ++board(rank).bell;
  futex_wake(board(rank).bell);
}

void WorldMemory::await_end(uint32_t rank, std::chrono::milliseconds at_most) const {
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  wait_at(
      rank, [] { return false; },
      [&] { return std::chrono::steady_clock::now() >= deadline; }, [](uint32_t) {});
}

void WorldMemory::ring(uint32_t rank) const {
  Board& at = board(rank);
  ++at.bell;
  if (at.sleepers.load() != 0) futex_wake(at.bell);
}

bool WorldMemory::wait_for(uint32_t waiter, uint32_t rank,
                           const std::function<bool()>& is_there,
                           const std::function<bool()>& is_over) const {
  for (uint32_t i = 0; i <= spins_; ++i) {
    if (is_there()) return true;
    pause();
  }
  for (int i = 0; i < kYields; ++i) {
    sched_yield();
    if (is_there()) return true;
  }
  std::atomic<uint64_t>& shown = board(waiter).waits;
  const uint32_t turn = ++board(waiter).turns;
  const bool is_done = wait_at(rank, is_there, is_over, [&](uint32_t bell) {
    shown.store(packed({rank, bell, turn}));
  });
  shown.store(0);
  return is_done;
}

bool WorldMemory::wait_at(uint32_t rank, const std::function<bool()>& is_there,
                          const std::function<bool()>& is_over,
                          const std::function<void(uint32_t)>& show) const {
  Board& at = board(rank);
  while (true) {
    const uint32_t bell = at.bell.load();
    const bool is_gone = at.is_gone.load() != 0;
    if (is_there()) return true;
    show(bell);
    if (is_gone || has_failed() || is_over()) return false;
    ++at.sleepers;
    futex_wait(at.bell, bell);
    --at.sleepers;
  }
}

// Each is looked at twice. A rank whose word is the same both times has slept all the
// time between, so there is a moment at which all of them did, and had told all they
// had done. If a bell is then what it was before its waiter saw that it has to wait,
// what it waits for is not there; and who sleeps does nothing about it.
std::vector<uint32_t> WorldMemory::ring_of_waiting(uint32_t rank) const {
  std::vector<uint32_t> ring;
  std::vector<uint64_t> words;
  uint32_t at = rank;
  do {
    const uint64_t word = board(at).waits.load();
    if (word == 0 || board(at).is_gone.load() != 0 || ring.size() == ranks_) return {};
    ring.push_back(at);
    words.push_back(word);
    at = unpacked(word).rank;
    if (at >= ranks_) return {};
  } while (at != rank);
  for (size_t i = 0; i < ring.size(); ++i) {
    const Wait wait = unpacked(words[i]);
    if (board(ring[i]).waits.load() != words[i]) return {};
    if (board(wait.rank).bell.load() != wait.bell) return {};
  }
  return ring;
}

}  // namespace nkipy
