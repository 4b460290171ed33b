// Collectives among processes, as XLA's programs call them.

#ifndef NKIPY_EMULATOR_COLLECTIVE_CALLS_H_
#define NKIPY_EMULATOR_COLLECTIVE_CALLS_H_

#include <algorithm>
#include <string>
#include <string_view>

#include "custom_calls.h"
#include "operands.h"
#include "world_seat.h"

namespace nkipy {

inline PyObject* world_error = nullptr;  // an exception class

// Who waits for others gives up a little before its time is over, when who waits for
// the call does, without knowing whom it waits for.
constexpr std::chrono::milliseconds kEarly{50};

inline bool is_late(const CallState* state) {
  return state->wait_until != kNoDeadline && Clock::now() >= state->wait_until - kEarly;
}

// What a program says of a collective. `groups` are the ranks of all groups one after
// the other, `sizes` how many each has. `sources` is for kind "take": of each position
// in a group the one whose operand it gets, or -1; "first" is the group's first rank's,
// and nothing for a rank in no group.
struct CollectiveAttributes {
  std::string_view kind, reduction, text;
  ffi::Span<const int64_t> groups, sizes, sources;
  int64_t outer, is_split, signature;
};

// What rank `rank` of so many does. A text says what is wrong with the attributes, if
// anything is.
inline const char* plan(const CollectiveAttributes& a, int64_t rank, int64_t ranks,
                        ffi::DataType dtype, size_t bytes, Collective* c) {
  const auto is_rank = [&](int64_t other) { return other >= 0 && other < ranks; };
  if (!std::all_of(a.groups.begin(), a.groups.end(), is_rank)) return "wrong ranks";
  const int64_t* group = a.groups.begin();
  bool is_found = false;
  for (const int64_t size : a.sizes) {
    if (size <= 0 || size > a.groups.end() - group) return "wrong sizes of groups";
    const int64_t* found = std::find(group, group + size, rank);
    is_found = found != group + size;
    if (is_found) {
      c->group.assign(group, group + size);
      c->position = static_cast<size_t>(found - group);
      break;
    }
    group += size;
  }
  const bool is_first = a.kind == "first";
  if (!is_found) {
    if (!is_first) return "the rank is in no group";
    c->group.push_back(static_cast<uint32_t>(rank));
  }
  const size_t members = c->group.size();
  c->element = width_of(dtype);
  c->is_split = a.is_split != 0;
  c->outer = static_cast<size_t>(a.outer);
  size_t blocks, elements;
  if (c->element == 0 || a.outer <= 0 ||
      __builtin_mul_overflow(c->outer, c->is_split ? members : 1, &blocks) ||
      __builtin_mul_overflow(blocks, c->element, &elements) || bytes % elements != 0) {
    return "wrong shape";
  }
  if (members * c->element > kSlotBytes) return "too many ranks";
  c->inner = bytes / blocks;
  c->text = a.text;
  c->signature = static_cast<uint64_t>(a.signature);
  if (a.kind == "reduce") {
    c->reduce = find_reduction(a.reduction, dtype);
    return c->reduce == nullptr ? "no such reduction" : nullptr;
  }
  if (a.kind == "place") {
    c->kind = Collective::Kind::kPlace;
    return nullptr;
  }
  c->kind = Collective::Kind::kTake;
  if (is_first) {
    c->source = is_found ? 0 : -1;
    c->is_taken = c->position == 0;
    return nullptr;
  }
  if (a.kind != "take" || a.sources.size() != members) return "wrong kind";
  c->source = a.sources.begin()[c->position];
  const auto own = static_cast<int64_t>(c->position);
  c->is_taken = std::find(a.sources.begin(), a.sources.end(), own) != a.sources.end();
  const bool is_position = c->source >= -1 && c->source < static_cast<int64_t>(members);
  return is_position ? nullptr : "wrong sources";
}

// Returns the call vector too: what takes it comes later, in all ranks alike.
inline ffi::Error collective(ffi::AnyBuffer operand, ffi::AnyBuffer vector,
                             ffi::Result<ffi::AnyBuffer> result,
                             ffi::Result<ffi::AnyBuffer> next, std::string_view kind,
                             std::string_view reduction, std::string_view text,
                             ffi::Span<const int64_t> groups,
                             ffi::Span<const int64_t> sizes,
                             ffi::Span<const int64_t> sources, int64_t outer,
                             int64_t is_split, int64_t signature) {
  if (!is_vector(vector) || next->size_bytes() != vector.size_bytes()) {
    return wrong_vector();
  }
  memcpy(next->untyped_data(), vector.untyped_data(), vector.size_bytes());
  const auto* words = static_cast<const uint64_t*>(vector.untyped_data());
  CallState* state = replica_of(words)->call;
  Seat* seat = state->seat;
  if (seat == nullptr) {
    return ffi::Error(ffi::ErrorCode::kInternal, "a collective in no world");
  }
  const CollectiveAttributes attributes = {
      kind, reduction, text, groups, sizes, sources, outer, is_split, signature};
  Collective c;
  const char* problem = plan(attributes, seat->rank(), seat->ranks(),
                             operand.element_type(), operand.size_bytes(), &c);
  const size_t ranks = c.group.size();
  const size_t needed = c.shared() * (c.kind == Collective::Kind::kPlace ? ranks : 1);
  if (problem == nullptr && result->size_bytes() != needed) problem = "wrong result";
  if (problem != nullptr) {
    return ffi::Error(ffi::ErrorCode::kInternal, "collective: " + std::string(problem));
  }
  const auto is_over = [state] { return state->failed || is_late(state); };
  const auto why = [state, seat] {
    const std::string rank = "rank " + std::to_string(seat->rank());
    return rank + (state->failed ? " has given up" : " has run out of time");
  };
  try {
    if (state->failed) {
      seat->fail("rank " + std::to_string(seat->rank()) + " has failed before " +
                 c.text);
    } else {
      seat->run(c, static_cast<const char*>(operand.untyped_data()),
                static_cast<char*>(result->untyped_data()), is_over, why);
    }
  } catch (const WorldFailure& failure) {
    fail_call(state, is_late(state) ? timeout_error : world_error, failure.what());
  }
  return ffi::Error::Success();
}

// reduces(opcode, element_type): see find_reduction.
inline PyObject* reduces(PyObject*, PyObject* args) {
  const char* opcode;
  Py_ssize_t length;
  int element_type;
  if (!PyArg_ParseTuple(args, "s#i", &opcode, &length, &element_type)) return nullptr;
  const std::string_view name(opcode, static_cast<size_t>(length));
  const auto dtype = static_cast<ffi::DataType>(element_type);
  return PyBool_FromLong(find_reduction(name, dtype) != nullptr);
}

// Which rank it is that runs the program.
inline ffi::Error rank_of(ffi::AnyBuffer vector, ffi::Result<ffi::AnyBuffer> rank) {
  if (!is_vector(vector)) return wrong_vector();
  const auto* words = static_cast<const uint64_t*>(vector.untyped_data());
  const Seat* seat = replica_of(words)->call->seat;
  if (seat == nullptr || rank->size_bytes() != sizeof(uint32_t)) {
    return ffi::Error(ffi::ErrorCode::kInternal, "a rank in no world");
  }
  *static_cast<uint32_t*>(rank->untyped_data()) = seat->rank();
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(kRank, rank_of,
                       ffi::Ffi::Bind().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER(kCollective, collective,
                       ffi::Ffi::Bind()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Attr<std::string_view>("kind")
                           .Attr<std::string_view>("reduction")
                           .Attr<std::string_view>("text")
                           .Attr<ffi::Span<const int64_t>>("groups")
                           .Attr<ffi::Span<const int64_t>>("sizes")
                           .Attr<ffi::Span<const int64_t>>("sources")
                           .Attr<int64_t>("outer")
                           .Attr<int64_t>("split")
                           .Attr<int64_t>("signature"));

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_COLLECTIVE_CALLS_H_
