#include "collective_exchange.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace nkipy {

struct Member::Operation {
  const Collective& collective;
  const std::function<bool()>& is_over;
  const std::function<std::string()>& why;
  std::vector<Link*> links;       // to others that take part
  uint64_t group = 0, count = 0;  // as announced
  Announcement* own = nullptr;
  uint64_t parts = 0;           // that this rank has published
  std::vector<uint64_t> first;  // by position: `published` before the first of them
};

// Another rank's announcement.
struct Member::Seen {
  uint64_t signature, first;
  bool is_over;
  const SharedText* text;
};

namespace {

// Between processes the same, as std::hash need not be (FNV-1a).
uint64_t hash_of(const std::vector<uint32_t>& group) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const uint32_t rank : group) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (rank >> shift & 0xff)) * 0x100000001b3;
    }
  }
  return hash;
}

constexpr size_t kLine = 64;  // bytes

// How long it may take to tell another machine something in a world that has failed.
constexpr std::chrono::milliseconds kGrace{2000};
// How long one waits for the last words of a rank that has ended, where not even the
// end of its link comes, as of a machine that was switched off.
constexpr std::chrono::milliseconds kLastWords{5000};

// Says when kGrace is over, from the first time that it is asked.
class Grace {
 public:
  bool is_over() {
    const auto now = std::chrono::steady_clock::now();
    if (!began_) began_ = now;
    return now - *began_ >= kGrace;
  }

 private:
  std::optional<std::chrono::steady_clock::time_point> began_;
};

// Bytes of what ranks share that fit into a slot at once: whole elements.
size_t bytes_at_once(const Collective& c) {
  const size_t pieces = c.is_split ? c.group.size() : 1;
  const size_t room = kSlotBytes / pieces;
  const size_t unit = std::max(c.element, kLine);
  return room >= unit ? room / unit * unit : room / c.element * c.element;
}

// Calls copy(at, offset, size) for the pieces of [begin, end) of what ranks share: `at`
// counts from `begin`, and `offset` is where the piece lies in an array with `pieces`
// of them in each block, of which it is number `number`.
template <typename Copy>
void for_pieces(const Collective& c, size_t begin, size_t end, size_t pieces,
                size_t number, const Copy& copy) {
  if (pieces == 1 || c.outer == 1) {
    copy(0, number * c.inner + begin, end - begin);
    return;
  }
  for (size_t at = begin; at < end;) {
    const size_t block = at / c.inner, within = at % c.inner;
    const size_t size = std::min(c.inner - within, end - at);
    copy(at - begin, (block * pieces + number) * c.inner + within, size);
    at += size;
  }
}

void lay(const Collective& c, const char* operand, size_t begin, size_t end,
         char* slot) {
  if (!c.is_split) {
    memcpy(slot, operand + begin, end - begin);
    return;
  }
  const size_t pieces = c.group.size();
  for (size_t number = 0; number < pieces; ++number) {
    char* row = slot + number * (end - begin);
    for_pieces(c, begin, end, pieces, number, [&](size_t at, size_t from, size_t size) {
      memcpy(row + at, operand + from, size);
    });
  }
}

void take(const Collective& c, const std::vector<const char*>& rows, size_t begin,
          size_t end, char* result) {
  if (c.kind == Collective::Kind::kReduce) {
    c.reduce(result + begin, rows, (end - begin) / c.element);
  } else if (c.kind == Collective::Kind::kPlace) {
    for (size_t number = 0; number < rows.size(); ++number) {
      for_pieces(c, begin, end, rows.size(), number,
                 [&](size_t at, size_t to, size_t size) {
                   memcpy(result + to, rows[number] + at, size);
                 });
    }
  } else if (c.source >= 0) {
    memcpy(result + begin, rows[static_cast<size_t>(c.source)], end - begin);
  } else {
    memset(result + begin, 0, end - begin);
  }
}

}  // namespace

void Member::run(const Collective& collective, const char* operand, char* result,
                 const std::function<bool()>& is_over,
                 const std::function<std::string()>& why) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // Who fails the world waits until links are free, to say why: what a machine that
  // reads nothing is being told must not go on for ever.
  Grace grace;
  const std::function<bool()> must_end = [&] {
    return is_over() || (memory_->has_failed() && grace.is_over());
  };
  Operation operation{collective, must_end, why, {}, 0, 0, nullptr, 0, {}};
  if (memory_->has_failed()) throw WorldFailure(memory_->reason());
  for (const auto& link : links_) {
    if (link->concerns(collective.group)) operation.links.push_back(link.get());
  }
  try {
    perform(collective, &operation, operand, result);
  } catch (const WorldFailure& failure) {
    fail(failure.what());
    throw;
  }
}

void Member::fail(const std::string& reason) const {
  memory_->fail(reason);
  // Who does not read it soon will hear it from others, or wait in vain.
  Grace grace;
  for (const auto& link : links_) link->fail(reason, [&] { return grace.is_over(); });
}

void Member::end(uint32_t rank, const std::string& reason) const {
  memory_->await_end(rank, kLastWords);
  fail(reason);
}

void Member::leave() const {
  memory_->lose(rank_);
  for (const auto& link : links_) link->close();
}

void Member::perform(const Collective& collective, Operation* operation,
                     const char* operand, char* result) {
  const bool is_placed = collective.kind == Collective::Kind::kPlace;
  prefer_large_pages(result,
                     collective.shared() * (is_placed ? collective.group.size() : 1));
  leave_group(*operation);
  announce(operation);
  if (collective.kind == Collective::Kind::kReduce && !collective.is_split &&
      collective.group.size() > 2 && collective.shared() >= kSlotBytes / 8) {
    reduce_in_shares(operation, operand, result);
  } else {
    exchange(operation, operand, result);
  }
  operation->own->is_over.store(1, std::memory_order_release);
  memory_->ring(rank_);
  tell(*operation,
       [&](Link* link) { return link->finish(operations_, operation->is_over); });
}

// Calls send(link) for the machines of others that take part; it says whether that has
// gone well.
template <typename Send>
void Member::tell(const Operation& operation, const Send& send) const {
  for (Link* link : operation.links) {
    if (send(link)) continue;
    // That nobody reads there may be the end of what has been said and not heard yet.
    if (!operation.is_over()) memory_->await_end(link->first_rank(), kLastWords);
    if (!memory_->has_failed()) {
      const std::string& what = operation.collective.text;
      const std::string whom =
          "the machine of rank " + std::to_string(link->first_rank());
      memory_->fail(
          operation.is_over()
              ? operation.why() + ", in " + what + ", as " + whom + " takes nothing"
              : "rank " + std::to_string(rank_) + " has lost " + whom + " in " + what);
    }
    throw WorldFailure(memory_->reason());
  }
}

// Waits for `rank`, or fails the world.
void Member::await(const Operation& operation, uint32_t rank,
                   const std::function<bool()>& is_there) {
  std::vector<uint32_t> ring;
  const std::function<bool()> is_in_vain = [&] {
    if (operation.is_over()) return true;
    ring = memory_->ring_of_waiting(rank_);
    return !ring.empty();
  };
  if (memory_->wait_for(rank_, rank, is_there, is_in_vain)) return;
  if (!memory_->has_failed()) {
    const std::string whom = "rank " + std::to_string(rank);
    const std::string& what = operation.collective.text;
    if (!ring.empty()) {
      memory_->fail(each_in(ring));
    } else if (memory_->board(rank).is_gone != 0) {
      memory_->fail(whom + " has left, and rank " + std::to_string(rank_) +
                    " waits for it in " + what + whereabouts(rank));
    } else {
      memory_->fail(operation.why() + ", in " + what + ", which waited for " + whom +
                    whereabouts(rank));
    }
  }
  throw WorldFailure(memory_->reason());
}

// What a rank has begun and not ended, for people; empty if nothing.
std::string Member::current(uint32_t rank) const {
  uint64_t latest = 0;
  std::string text;
  for (const Announcement& announced : memory_->board(rank).announced) {
    const uint64_t number = announced.number.load(std::memory_order_acquire);
    if (number <= latest) continue;
    latest = number;
    text = announced.is_over.load() != 0 ? "" : announced.text.get();
  }
  return text;
}

// The same of another rank that is not here, which it may be the reason of.
std::string Member::whereabouts(uint32_t rank) const {
  const std::string text = rank == rank_ ? "" : current(rank);
  return text.empty() ? "" : ": rank " + std::to_string(rank) + " was in " + text;
}

// What ranks are told of which each waits for the next.
std::string Member::each_in(std::vector<uint32_t> ring) const {
  constexpr size_t kTold = 3;  // a reason has no room for many
  std::rotate(ring.begin(), std::min_element(ring.begin(), ring.end()), ring.end());
  std::string ranks, each;
  for (size_t i = 0; i < ring.size(); ++i) {
    const std::string rank = std::to_string(ring[i]);
    ranks += (i == 0 ? "" : i + 1 == ring.size() ? " and " : ", ") + rank;
    if (i < kTold) each += (i == 0 ? "" : ", and ") + rank + " in " + current(ring[i]);
  }
  return "ranks " + ranks + " wait for each other: rank " + each +
         (ring.size() > kTold ? ", and so on" : "") +
         "; all ranks of a group have to name it alike, and go to several groups in "
         "the same order";
}

// Nothing if that operation is not announced, or not any more.
std::optional<Member::Seen> Member::look(uint32_t rank, uint64_t group,
                                         uint64_t count) const {
  for (const Announcement& announced : memory_->board(rank).announced) {
    const uint64_t number = announced.number.load(std::memory_order_acquire);
    if (number == 0 || announced.group.load() != group ||
        announced.count.load() != count) {
      continue;
    }
    const Seen seen = {announced.signature.load(), announced.first.load(),
                       announced.is_over.load() != 0, &announced.text};
    // Another operation may have taken its place meanwhile.
    if (announced.number.load() == number) return seen;
  }
  return std::nullopt;
}

// Slots are free for another group when all of the last one have read them.
void Member::leave_group(const Operation& operation) {
  if (last_count_ == 0 || last_group_ == operation.collective.group) return;
  const uint64_t group = hash_of(last_group_);
  for (const uint32_t rank : last_group_) {
    await(operation, rank, [&] {
      const std::optional<Seen> last = look(rank, group, last_count_);
      return !last || last->is_over;  // a rank announces another when it has gone on
    });
  }
}

void Member::announce(Operation* operation) {
  const Collective& c = operation->collective;
  operation->group = hash_of(c.group);
  operation->count = ++counts_[c.group];
  last_group_ = c.group;
  last_count_ = operation->count;
  Board& board = memory_->board(rank_);
  Announcement& own = board.announced[++operations_ % 2];
  own.number.store(0);
  own.group.store(operation->group);
  own.count.store(operation->count);
  own.signature.store(c.signature);
  own.first.store(board.published.load());
  own.is_over.store(0);
  own.text.set(c.text);
  own.number.store(operations_, std::memory_order_release);
  operation->own = &own;
  const Announced told = {operations_, operation->group, operation->count,
                          c.signature, own.first.load(), c.text};
  tell(*operation,
       [&](Link* link) { return link->announce(told, operation->is_over); });
}

char* Member::own_slot() const {
  return memory_->slot(rank_, memory_->board(rank_).published.load());
}

void Member::publish(Operation* operation, size_t offset, size_t size) {
  const char* slot = own_slot();
  memory_->board(rank_).published.fetch_add(1, std::memory_order_release);
  ++operation->parts;
  memory_->ring(rank_);
  tell(*operation, [&](Link* link) {
    return link->publish(slot, offset, size, operation->is_over);
  });
}

// Waits until all have announced the operation, and compares what they have announced.
void Member::meet(Operation* operation) {
  const Collective& c = operation->collective;
  operation->first.resize(c.group.size());
  for (size_t i = 0; i < c.group.size(); ++i) {
    const uint32_t rank = c.group[i];
    std::optional<Seen> seen;
    await(*operation, rank, [&] {
      seen = look(rank, operation->group, operation->count);
      return seen.has_value();
    });
    if (seen->signature != c.signature) {
      memory_->fail("rank " + std::to_string(rank_) + " is in " + c.text +
                    ", and rank " + std::to_string(rank) + " in " + seen->text->get() +
                    ": all ranks have to run the same program, with the same shapes");
      throw WorldFailure(memory_->reason());
    }
    operation->first[i] = seen->first;
  }
}

// Waits for the part that this rank has published last, of all ranks of the group.
std::vector<const char*> Member::published_rows(Operation* operation) {
  if (operation->first.empty()) meet(operation);
  const std::vector<uint32_t>& group = operation->collective.group;
  std::vector<const char*> rows;
  for (size_t i = 0; i < group.size(); ++i) {
    const uint64_t part = operation->first[i] + operation->parts - 1;
    const std::atomic<uint64_t>& published = memory_->board(group[i]).published;
    await(*operation, group[i],
          [&] { return published.load(std::memory_order_acquire) > part; });
    rows.push_back(memory_->slot(group[i], part));
  }
  return rows;
}

void Member::exchange(Operation* operation, const char* operand, char* result) {
  const Collective& c = operation->collective;
  const size_t step = bytes_at_once(c), all = c.shared();
  if (all == 0) {
    memory_->ring(rank_);  // nothing is published, which would
    return meet(operation);
  }
  for (size_t begin = 0; begin < all; begin += step) {
    const size_t end = std::min(begin + step, all);
    const size_t pieces = c.is_split ? c.group.size() : 1;
    if (c.is_taken) lay(c, operand, begin, end, own_slot());
    publish(operation, 0, c.is_taken ? pieces * (end - begin) : 0);
    std::vector<const char*> rows = published_rows(operation);
    if (c.is_split) {
      for (const char*& row : rows) row += c.position * (end - begin);
    }
    take(c, rows, begin, end, result);
  }
}

// Each rank reduces a share of each part, and all read that: for three ranks and more
// this is less to read.
void Member::reduce_in_shares(Operation* operation, const char* operand, char* result) {
  const Collective& c = operation->collective;
  const size_t ranks = c.group.size(), all = c.shared();
  for (size_t begin = 0; begin < all; begin += kSlotBytes) {
    const size_t elements = (std::min(begin + kSlotBytes, all) - begin) / c.element;
    const auto share = [&](size_t i) { return elements * i / ranks * c.element; };
    memcpy(own_slot(), operand + begin, elements * c.element);
    publish(operation, 0, elements * c.element);
    const size_t own = share(c.position), size = share(c.position + 1) - own;
    std::vector<const char*> rows = published_rows(operation);
    for (const char*& row : rows) row += own;
    c.reduce(own_slot() + own, rows, size / c.element);
    publish(operation, own, size);
    rows = published_rows(operation);
    for (size_t i = 0; i < ranks; ++i) {
      memcpy(result + begin + share(i), rows[i] + share(i), share(i + 1) - share(i));
    }
  }
}

}  // namespace nkipy
