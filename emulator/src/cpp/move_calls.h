// The custom call that lays boxes of elements of its operands beside each other: what
// pads, tiles, repeats, flips, slices and joins are made of.

#ifndef NKIPY_EMULATOR_MOVE_CALLS_H_
#define NKIPY_EMULATOR_MOVE_CALLS_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "axes.h"
#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

constexpr size_t kMostMoved = 16;  // operands; so has it moves.py
constexpr size_t kMostMovedDimensions = 16;
constexpr size_t kMovePiece = size_t{1} << 17;  // bytes that are written at once
// Elements of a row that are moved one by one: a call takes longer.
constexpr size_t kShortMove = 8;

// One dimension of a box: how many elements, and the steps from one to the next, in
// elements, where they are read and where they go.
struct MovedDimension {
  size_t size;
  ptrdiff_t from, to;
};

// Elements of one operand that go into the result.
struct MovedBox {
  const char* from;
  char* to;
  std::vector<MovedDimension> dimensions;  // at least one; the last one is a row
  size_t together = 1;                     // rows whose elements lie between each other

  size_t rows() const {
    size_t count = 1;
    for (size_t i = 0; i + 1 < dimensions.size(); ++i) count *= dimensions[i].size;
    return count;
  }
};

template <typename T>
void move_row(const MovedDimension& row, const T* from, T* to) {
  const size_t count = row.size;
  const ptrdiff_t step = row.from, stored = row.to;
  if (stored != 1) {
    for (size_t i = 0; i < count; ++i, from += step, to += stored) *to = *from;
  } else if (step == 0) {
    std::fill(to, to + count, *from);
  } else if (step == 1 && count > kShortMove) {
    memcpy(to, from, count * sizeof(T));
  } else {
    for (size_t i = 0; i < count; ++i, from += step) to[i] = *from;
  }
}

// Rows `begin` to `end` of a box.
template <typename T>
void move_rows(const MovedBox& box, size_t begin, size_t end) {
  const auto& dimensions = box.dimensions;
  const size_t outer = dimensions.size() - 1;
  const MovedDimension& row = dimensions.back();
  size_t index[kMostMovedDimensions];
  auto* from = reinterpret_cast<const T*>(box.from);
  auto* to = reinterpret_cast<T*>(box.to);
  size_t rest = begin;
  for (size_t i = outer; i-- > 0;) {
    index[i] = rest % dimensions[i].size;
    rest /= dimensions[i].size;
    from += static_cast<ptrdiff_t>(index[i]) * dimensions[i].from;
    to += static_cast<ptrdiff_t>(index[i]) * dimensions[i].to;
  }
  while (true) {
    move_row(row, from, to);
    if (++begin >= end) return;
    for (size_t i = outer; i-- > 0;) {
      const MovedDimension& dimension = dimensions[i];
      from += dimension.from, to += dimension.to;
      if (++index[i] < dimension.size) break;
      from -= static_cast<ptrdiff_t>(dimension.size) * dimension.from;
      to -= static_cast<ptrdiff_t>(dimension.size) * dimension.to;
      index[i] = 0;
    }
  }
}

// Has dimensions that follow each other in both memories as one, and none of one
// element. A row that is short changes places with the dimension before it.
inline void merge_dimensions(MovedBox* box) {
  std::vector<MovedDimension> merged;
  for (const MovedDimension& next : box->dimensions) {
    if (next.size == 1) continue;
    if (!merged.empty()) {
      MovedDimension& last = merged.back();
      const auto size = static_cast<ptrdiff_t>(next.size);
      if (last.from == next.from * size && last.to == next.to * size) {
        last = {last.size * next.size, next.from, next.to};
        continue;
      }
    }
    merged.push_back(next);
  }
  if (merged.empty()) merged.push_back({1, 1, 1});
  const size_t rank = merged.size();
  if (rank > 1 && merged[rank - 1].size <= kShortMove &&
      merged[rank - 2].size > merged[rank - 1].size) {
    box->together = merged[rank - 1].size;
    std::swap(merged[rank - 1], merged[rank - 2]);
  }
  box->dimensions = std::move(merged);
}

// What is read and written lies in the operand and in the result.
inline bool find_box(const int64_t* numbers, ffi::Span<const int64_t> shape,
                     const std::vector<Operand>& operands, char* to, MovedBox* box,
                     size_t* count) {
  constexpr int64_t kMost = int64_t{1} << 40;
  const size_t rank = shape.size();
  if (numbers[0] < 0 || numbers[0] >= static_cast<int64_t>(operands.size())) {
    return false;
  }
  const Operand& x = operands[static_cast<size_t>(numbers[0])];
  int64_t low = numbers[1], high = numbers[1], place = 0, below = 1;
  *count = 1;
  box->dimensions.resize(rank);
  for (size_t i = rank; i-- > 0;) {
    const int64_t *dimension = numbers + 2 + 4 * i, start = dimension[0];
    const int64_t size = dimension[1], step = dimension[2], apart = dimension[3];
    if (start < 0 || start >= shape[i] || size < 1 || apart < 1 ||
        size - 1 > (shape[i] - 1 - start) / apart || size > kMost || step > kMost ||
        step < -kMost) {
      return false;
    }
    int64_t reach;
    if (__builtin_mul_overflow(step, size - 1, &reach) ||
        __builtin_add_overflow(reach > 0 ? high : low, reach,
                               reach > 0 ? &high : &low)) {
      return false;
    }
    place += start * below;
    box->dimensions[i] = {static_cast<size_t>(size), static_cast<ptrdiff_t>(step),
                          static_cast<ptrdiff_t>(below * apart)};
    below *= shape[i];
    *count *= static_cast<size_t>(size);
  }
  if (low < 0 || high >= static_cast<int64_t>(x.count)) return false;
  box->from = x.data + numbers[1] * static_cast<int64_t>(x.itemsize());
  box->to = to + place * static_cast<int64_t>(x.itemsize());
  merge_dimensions(box);
  return true;
}

// Rows of a box that are moved at once, or parts of them.
struct MovedPiece {
  MovedBox box;
  size_t begin, end;
};

inline void add_pieces(const MovedBox& box, size_t itemsize,
                       std::vector<MovedPiece>* pieces) {
  const MovedDimension row = box.dimensions.back();
  const size_t rows = box.rows(), most = kMovePiece / itemsize;
  for (size_t first = 0; first < row.size; first += most) {
    MovedBox part = box;
    const size_t length = std::min(most, row.size - first);
    const auto offset = static_cast<ptrdiff_t>(first * itemsize);
    part.from += offset * row.from;
    part.to += offset * row.to;
    part.dimensions.back().size = length;
    const size_t sets = std::max<size_t>(most / length / box.together, 1);
    const size_t step = sets * box.together;
    for (size_t begin = 0; begin < rows; begin += step) {
      pieces->push_back({part, begin, std::min(begin + step, rows)});
    }
  }
}

// `shape` is the result's; `boxes` has of each its operand, the first element there,
// and for each dimension where in the result it begins, how many elements it has, and
// the steps between them in the operand and in the result. Each element of the result
// is in one box, but for those that are `stored` over it when all others are there: so
// many of the last boxes.
inline ffi::Error move_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            ffi::Span<const int64_t> shape,
                            ffi::Span<const int64_t> boxes, int64_t stored,
                            ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  const size_t given = args.size() - (words.size() != 0 ? 1 : 0);
  const Team team(pool, args, words);
  if (given == 0 || given > kMostMoved) return wrong_operands();
  const size_t rank = shape.size(), length = 2 + 4 * rank;
  const size_t total = result->element_count();
  if (rank == 0 || rank > kMostMovedDimensions || boxes.size() % length != 0 ||
      total == 0 || !are_sizes_of(shape, total)) {
    return wrong_call("a shape that is not the result's");
  }
  try {
    std::vector<Operand> operands(given);
    if (!locate(args, words, given, operands.data())) return wrong_operands();
    const size_t itemsize = width_of(result->element_type());
    for (const Operand& x : operands) {
      if (x.type != result->element_type()) return wrong_call("types that differ");
    }
    const auto move = itemsize == 1   ? move_rows<uint8_t>
                      : itemsize == 2 ? move_rows<uint16_t>
                      : itemsize == 4 ? move_rows<uint32_t>
                      : itemsize == 8 ? move_rows<uint64_t>
                                      : nullptr;
    if (move == nullptr) return wrong_call("elements of another size");
    auto* to = static_cast<char*>(result->untyped_data());
    std::vector<MovedPiece> pieces;
    size_t filled = 0, before = 0;  // elements, and pieces, of what is stored over
    const auto last = static_cast<int64_t>(boxes.size() / length);
    if (stored < 0 || stored > last) return wrong_call("a wrong number of boxes");
    const auto first_stored = static_cast<size_t>(last - stored) * length;
    for (size_t i = 0; i < boxes.size(); i += length) {
      MovedBox box;
      size_t count;
      if (!find_box(boxes.begin() + i, shape, operands, to, &box, &count)) {
        return wrong_call("a box that is outside");
      }
      add_pieces(box, itemsize, &pieces);
      if (i >= first_stored) continue;
      filled += count;
      before = pieces.size();
    }
    if (filled != total) return wrong_call("boxes that are not all of the result");
    const auto move_all = [&](size_t begin, size_t end) {
      return share_work(
          team, end - begin,
          [&](size_t i) {
            const MovedPiece& piece = pieces[begin + i];
            move(piece.box, piece.begin, piece.end);
          },
          true);
    };
    const bool done = move_all(0, before) && move_all(before, pieces.size());
    return team.outcome(done);
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kMoveCall, move_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("shape")
                           .Attr<ffi::Span<const int64_t>>("boxes")
                           .Attr<int64_t>("stored")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MOVE_CALLS_H_
