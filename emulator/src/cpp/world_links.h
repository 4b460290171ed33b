// Ranks on other machines: what a rank does is told to one process of each of these,
// which does the same in the memory of its machine. So ranks meet in memory everywhere.
//
// A rank tells nothing of operations in which only ranks of its machine take part. That
// `published` jumps over their parts then is all the same to others: a rank waits for
// all of a group before it goes from there to another one.

#ifndef NKIPY_EMULATOR_WORLD_LINKS_H_
#define NKIPY_EMULATOR_WORLD_LINKS_H_

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "world_memory.h"

namespace nkipy {

// What an operation is, as its rank announces it: see Announcement.
struct Announced {
  uint64_t number, group, count, signature, first;
  std::string_view text;
};

struct LinkHead;

// A connection of one rank to the machine of some others. Safe to use from many
// threads.
class Link {
 public:
  // Has the descriptor, of a stream socket, from then on.
  Link(int descriptor, std::vector<uint32_t> ranks)
      : descriptor_(descriptor), ranks_(std::move(ranks)) {}
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  uint32_t first_rank() const { return ranks_.front(); }
  bool concerns(const std::vector<uint32_t>& group) const;

  // All return false if nobody reads it, or not before `is_over()`. After that, it is
  // closed.
  using IsOver = std::function<bool()>;
  bool announce(const Announced& announced, const IsOver& is_over);
  bool publish(const char* slot, size_t offset, size_t size, const IsOver& is_over);
  bool finish(uint64_t number, const IsOver& is_over);
  bool fail(std::string_view reason, const IsOver& is_over);

  // Nothing follows.
  void close();

 private:
  bool send(const LinkHead& head, const char* data, const IsOver& is_over);

  const int descriptor_;
  const std::vector<uint32_t> ranks_;
  std::mutex mutex_;
  bool is_open_ = true;
};

// Does in `memory` what the link of rank `rank` tells, and loses the rank when nothing
// follows. Throws std::invalid_argument for what no link sends, std::system_error.
void follow(int descriptor, uint32_t rank, WorldMemory& memory);

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORLD_LINKS_H_
