// Memory that the ranks of a world share on one machine, and how they wait in it.
//
// Each rank has two slots, which it fills in turn with parts of its operands, and a
// board that tells what it is at. A rank fills a slot again only when those that read
// it have gone on: see Member in collective_exchange.h.

#ifndef NKIPY_EMULATOR_WORLD_MEMORY_H_
#define NKIPY_EMULATOR_WORLD_MEMORY_H_

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nkipy {

constexpr uint32_t kMaxWorldRanks = 1024;
constexpr size_t kSlotBytes = size_t{1} << 18;
constexpr size_t kWorldTextBytes = 1024;

// A text that others may read while it is written: they get old and new mixed then.
class SharedText {
 public:
  void set(std::string_view text);
  std::string get() const;

 private:
  std::array<std::atomic<uint64_t>, kWorldTextBytes / 8> words_;
};

// An operation as its rank announces it.
struct Announcement {
  std::atomic<uint64_t> number;     // of the rank's operations, from 1; 0: none
  std::atomic<uint64_t> group;      // who takes part
  std::atomic<uint64_t> count;      // which of the group's operations it is, from 1
  std::atomic<uint64_t> signature;  // what all who take part must agree on
  std::atomic<uint64_t> first;      // `published` before the first of its parts
  std::atomic<uint32_t> is_over;    // the rank has read all it needs
  SharedText text;                  // what it is, for people
};

struct alignas(64) Board {
  std::atomic<uint64_t> published;         // parts that were laid into the slots
  alignas(64) std::atomic<uint32_t> bell;  // a futex, which changes with all of this
  std::atomic<uint32_t> sleepers;          // who waits at it
  std::atomic<uint32_t> is_gone;           // the rank does nothing any more
  std::atomic<uint64_t> waits;             // for what it sleeps: see Wait
  std::atomic<uint32_t> turns;             // how often it has
  alignas(64) Announcement announced[2];   // in turn
};

// Has the system give large pages to memory that is about to be written, if it does and
// it is large: thousands of small ones take longer to get than to fill.
void prefer_large_pages(void* memory, size_t size);

// Maps the segment of a world. What is in it is not trusted: other processes write it.
class WorldMemory {
 public:
  // Bytes that a segment for `ranks` has.
  static size_t size_for(uint32_t ranks);

  // Maps a descriptor, which stays the caller's. Throws std::system_error, or
  // std::invalid_argument if it is too small or for another number of ranks.
  WorldMemory(int descriptor, uint32_t ranks);
  ~WorldMemory();
  WorldMemory(const WorldMemory&) = delete;
  WorldMemory& operator=(const WorldMemory&) = delete;

  uint32_t ranks() const { return ranks_; }
  Board& board(uint32_t rank) const;
  char* slot(uint32_t rank, uint64_t part) const;

  // Ends all operations, for good. The first reason stays.
  void fail(std::string_view reason);
  bool has_failed() const;
  std::string reason() const;

  // What `rank` has not done by now it will not do.
  void lose(uint32_t rank);

  // Returns when all that `rank` has told is here, because the world has failed or the
  // rank is gone, but not later than that.
  void await_end(uint32_t rank, std::chrono::milliseconds at_most) const;

  // Tells those who wait for `rank`.
  void ring(uint32_t rank) const;

  // Returns when `is_there()`, which depends on what `rank` has done; false if that
  // can't be any more, because the world has failed or `rank` is gone, or if
  // `is_over()`, which is asked fifty times a second. Only `waiter`, of this machine,
  // waits by this.
  bool wait_for(uint32_t waiter, uint32_t rank, const std::function<bool()>& is_there,
                const std::function<bool()>& is_over) const;

  // Ranks of this machine that wait each for the next one, and the last for the first,
  // which is `rank`: none of them will ever go on. Empty if there are none, and where
  // that is not certain yet. To be asked by `rank` while it waits.
  std::vector<uint32_t> ring_of_waiting(uint32_t rank) const;

  // How long to look before sleeping; 0 where ranks have to share processors.
  void set_spins(uint32_t spins) { spins_ = spins; }

 private:
  struct Header;
  Header* header() const;
  // As wait_for, and `show` is called with the bell for which it is about to sleep.
  bool wait_at(uint32_t rank, const std::function<bool()>& is_there,
               const std::function<bool()>& is_over,
               const std::function<void(uint32_t)>& show) const;

  const uint32_t ranks_;
  const size_t size_;
  char* base_ = nullptr;
  uint32_t spins_ = 0;
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORLD_MEMORY_H_
