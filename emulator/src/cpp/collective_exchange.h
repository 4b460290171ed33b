// Collectives of ranks that share a WorldMemory.
//
// All are one procedure: part by part, each rank of a group lays some of its operand
// into its slot and publishes it, waits until the others have, and reads from their
// slots what it needs. A part is read at the latest when its reader publishes the next
// one but one; so two slots are enough. When a rank goes from one group to another, it
// first waits until the former has read all.

#ifndef NKIPY_EMULATOR_COLLECTIVE_EXCHANGE_H_
#define NKIPY_EMULATOR_COLLECTIVE_EXCHANGE_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "collective_reduction.h"
#include "world_links.h"
#include "world_memory.h"

namespace nkipy {

// One collective as one rank sees it. Operand and result are rows of bytes: of `outer`
// blocks of `parts` pieces of `inner` bytes each, those that change owners are pieces.
struct Collective {
  enum class Kind { kReduce, kPlace, kTake };

  // kReduce: the result is the reduction of what the ranks of the group have for this
  // one. kPlace: the result has from each rank a piece, in the order of the group.
  // kTake: the result is the operand of the rank at `source`, or zeros if that is -1.
  Kind kind = Kind::kReduce;
  std::vector<uint32_t> group;  // ranks, in their order
  size_t position = 0;          // this rank's in it
  int64_t source = -1;          // kTake: a position in the group
  bool is_taken = true;         // somebody reads this rank's operand
  size_t outer = 1, inner = 0;  // of what one rank gets from another
  bool is_split = false;        // the operand has a piece for each rank of the group
  size_t element = 1;           // bytes
  Reduce reduce = nullptr;
  std::string text;        // what it is, for people
  uint64_t signature = 0;  // what all ranks have to agree on

  size_t shared() const { return outer * inner; }
};

// Why an operation was not done. The world has failed for all its ranks then.
class WorldFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A rank of a world: does one operation at a time.
class Member {
 public:
  // `links` lead to the machines of all ranks that do not share the memory.
  Member(std::shared_ptr<WorldMemory> memory, uint32_t rank,
         std::vector<std::unique_ptr<Link>> links)
      : memory_(std::move(memory)), rank_(rank), links_(std::move(links)) {}

  uint32_t rank() const { return rank_; }
  WorldMemory& memory() const { return *memory_; }
  const std::shared_ptr<WorldMemory>& shared_memory() const { return memory_; }

  // Ends the world for all its ranks, on all machines. The first reason stays.
  void fail(const std::string& reason) const;
  // The same where rank `rank`, of another machine, has ended: what it has said last,
  // which may not have been heard yet, is the reason if it is one.
  void end(uint32_t rank, const std::string& reason) const;
  // This rank does nothing any more.
  void leave() const;

  // Throws WorldFailure, also if `is_over` says that nobody waits for it any more;
  // `why` says then what the other ranks are told.
  void run(const Collective& collective, const char* operand, char* result,
           const std::function<bool()>& is_over,
           const std::function<std::string()>& why);

 private:
  struct Operation;
  struct Seen;

  std::optional<Seen> look(uint32_t rank, uint64_t group, uint64_t count) const;
  std::string current(uint32_t rank) const;
  std::string whereabouts(uint32_t rank) const;
  std::string each_in(std::vector<uint32_t> ring) const;
  void leave_group(const Operation& operation);
  void announce(Operation* operation);
  char* own_slot() const;
  // What lies in the slot, of which others may need some.
  void publish(Operation* operation, size_t offset, size_t size);
  template <typename Send>
  void tell(const Operation& operation, const Send& send) const;
  void perform(const Collective& collective, Operation* operation, const char* operand,
               char* result);
  void meet(Operation* operation);
  std::vector<const char*> published_rows(Operation* operation);
  void exchange(Operation* operation, const char* operand, char* result);
  void reduce_in_shares(Operation* operation, const char* operand, char* result);
  void await(const Operation& operation, uint32_t rank,
             const std::function<bool()>& is_there);

  const std::shared_ptr<WorldMemory> memory_;
  const uint32_t rank_;
  const std::vector<std::unique_ptr<Link>> links_;
  std::mutex mutex_;
  uint64_t operations_ = 0;
  std::map<std::vector<uint32_t>, uint64_t> counts_;  // of operations, by group
  std::vector<uint32_t> last_group_;
  uint64_t last_count_ = 0;
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_COLLECTIVE_EXCHANGE_H_
