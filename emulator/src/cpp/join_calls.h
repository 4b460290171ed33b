// The custom call that copies pieces of rows beside each other.

#ifndef NKIPY_EMULATOR_JOIN_CALLS_H_
#define NKIPY_EMULATOR_JOIN_CALLS_H_

#include <string.h>

#include <vector>

#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

constexpr size_t kMostJoined = 16;              // operands; so has it joins.py
constexpr size_t kJoinPiece = size_t{1} << 17;  // bytes that are copied at once

// Of each row of an operand, `length` bytes from `from` on; in a row of the result they
// end before `end`.
struct JoinedPiece {
  const char* from;
  size_t row, length, end;
};

// Writes the bytes of the result from `begin` to `end`.
inline void copy_joined(const std::vector<JoinedPiece>& pieces, char* to, size_t begin,
                        size_t end) {
  const size_t length = pieces.back().end;
  size_t row = begin / length, at = begin % length;
  while (begin < end) {
    for (const JoinedPiece& piece : pieces) {
      if (at >= piece.end) continue;
      const size_t done = at - (piece.end - piece.length);
      const size_t size = std::min(piece.length - done, end - begin);
      memcpy(to + begin, piece.from + row * piece.row + done, size);
      begin += size, at += size;
      if (begin == end) return;
    }
    ++row, at = 0;
  }
}

// `pieces`: of each, its operand, how many elements a row of that has, from which on it
// is, and how many there are. False if they are not what there is, or not so many bytes
// in all rows.
inline bool find_pieces(ffi::Span<const int64_t> numbers, size_t rows, size_t nbytes,
                        const std::vector<Operand>& operands,
                        std::vector<JoinedPiece>& pieces) {
  if (numbers.size() == 0 || numbers.size() % 4 != 0) return false;
  size_t end = 0, total;
  for (size_t i = 0; i < numbers.size(); i += 4) {
    const auto number = [&](size_t k) { return static_cast<size_t>(numbers[i + k]); };
    if (number(0) >= operands.size()) return false;
    const Operand& x = operands[number(0)];
    const size_t row = number(1), start = number(2), length = number(3);
    if (x.type != operands[0].type || start > row || length > row - start ||
        x.count / rows != row || x.count % rows != 0) {
      return false;
    }
    const size_t bytes = x.itemsize();
    if (__builtin_add_overflow(end, length * bytes, &end)) return false;
    pieces.push_back({x.data + start * bytes, row * bytes, length * bytes, end});
  }
  return !__builtin_mul_overflow(end, rows, &total) && total == nbytes;
}

inline ffi::Error join_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            int64_t rows, ffi::Span<const int64_t> numbers,
                            ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  const size_t total = result->size_bytes();
  const size_t count = args.size() - (words.size() != 0 ? 1 : 0);
  const Team team(pool, args, words);
  if (count == 0 || count > kMostJoined || rows <= 0) return wrong_operands();
  try {
    std::vector<Operand> operands(count);
    std::vector<JoinedPiece> pieces;
    if (!locate(args, words, count, operands.data())) return wrong_operands();
    if (result->element_type() != operands[0].type ||
        !find_pieces(numbers, static_cast<size_t>(rows), total, operands, pieces)) {
      return wrong_call("pieces that are not the operands'");
    }
    if (total == 0) return ffi::Error::Success();
    auto* to = static_cast<char*>(result->untyped_data());
    const size_t shares = (total + kJoinPiece - 1) / kJoinPiece;
    const bool done = share_work(team, shares, [&](size_t share) {
      const size_t begin = share * kJoinPiece;
      copy_joined(pieces, to, begin, std::min(begin + kJoinPiece, total));
    });
    return team.outcome(done);
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kJoinCall, join_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("rows")
                           .Attr<ffi::Span<const int64_t>>("pieces")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_JOIN_CALLS_H_
