// The custom call that looks for where the extremes along an axis lie.

#ifndef NKIPY_EMULATOR_EXTREME_CALLS_H_
#define NKIPY_EMULATOR_EXTREME_CALLS_H_

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "axes.h"
#include "element_calls.h"
#include "handled_call.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "order_keys.h"
#include "row_parts.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Columns that go together, and of how many rows of theirs the greatest is found before
// it is asked where that is: mostly it is none greater than the ones before.
constexpr size_t kExtremeColumns = 512, kExtremeRows = 32, kExtremeBlock = 1024;

template <typename E>
typename E::Rank rank_of(typename E::Native x, bool least) {
  return least ? E::opposite_rank(x) : E::rank(x);
}

// ---------------------------------------------------------------- rows

template <typename E, bool kLeast>
size_t arg_extreme_by_ranks(const typename E::Native* row, size_t count) {
  using Rank = typename E::Rank;
  const auto rank = [&](size_t i) { return rank_of<E>(row[i], kLeast); };
  Rank best = rank(0);
  size_t found = 0;
  for (size_t begin = 0; begin < count; begin += kExtremeBlock) {
    const size_t end = std::min(count, begin + kExtremeBlock);
    Rank most = std::numeric_limits<Rank>::min();
    for (size_t i = begin; i < end; ++i) {
      const Rank other = rank(i);
      most = other > most ? other : most;
    }
    if (most <= best) continue;
    best = most;
    // Which is not there any more if another thread writes to the operand meanwhile.
    for (found = begin; found + 1 < end && rank(found) != best;) ++found;
  }
  return found;
}

template <typename E>
size_t arg_extreme_of(NumpyType type, const typename E::Native* row, size_t count,
                      bool least) {
  if constexpr (is_of_numpy<E>()) return arg_extreme_by_numpy(type, row, count, least);
  return least ? arg_extreme_by_ranks<E, true>(row, count)
               : arg_extreme_by_ranks<E, false>(row, count);
}

template <typename E>
size_t arg_extreme(const Parts& parts, NumpyType type, const typename E::Native* row,
                   bool least) {
  size_t found[kMostParts];
  const bool done = parts.each([&](size_t part, size_t begin, size_t end) {
    found[part] = begin + arg_extreme_of<E>(type, row + begin, end - begin, least);
  });
  if (!done) throw std::bad_alloc();
  return *std::max_element(found, found + parts.parts, [&](size_t x, size_t y) {
    return rank_of<E>(row[x], least) < rank_of<E>(row[y], least);
  });
}

template <typename E>
bool extremes_of_rows(const Team& team, const Operand& x, const Axis& axis, bool least,
                      int32_t* indices) {
  const auto* first = x.as<typename E::Native>();
  const NumpyType type = x.type == ffi::DataType::PRED
                             ? NumpyType::kBool
                             : numpy_type<typename E::Native>();
  const auto find = [&](bool divided, size_t row, Scratch*) {
    const Parts parts(team, divided, axis.count, kLongReadRow);
    indices[row] = static_cast<int32_t>(
        arg_extreme<E>(parts, type, first + row * axis.count, least));
    return true;
  };
  return for_rows(team, axis.outer, axis.count, find, kLongReadRow);
}

// ---------------------------------------------------------------- columns

// What is compared: the greatest one wins. Floats of C++ are compared as they are,
// which is faster, and NaN is looked for apart.
template <typename E, bool kLeast>
struct Contest {
  using T = typename E::Native;
  static constexpr bool kIsNative = std::is_floating_point_v<T>;
  using Value = std::conditional_t<kIsNative, T, typename E::Rank>;
  using Flags = typename E::Key;  // as wide, so that they are found side by side

  static Value of(T x) {
    if constexpr (kIsNative) return kLeast ? -x : x;
    return rank_of<E>(x, kLeast);
  }
  static bool is_nan(Value x) { return kIsNative && x != x; }
};

// Of `width` columns, of which element `i` lies `i * axis.inner` behind the first,
// those from `begin` to `end`.
template <typename E, bool kLeast>
void extremes_of_strip(const typename E::Native* x, const Axis& axis, size_t width,
                       size_t begin, size_t end, int32_t* indices) {
  using C = Contest<E, kLeast>;
  using Value = typename C::Value;
  const auto value = [&](size_t i, size_t j) { return C::of(x[i * axis.inner + j]); };
  Value best[kExtremeColumns], most[kExtremeColumns];  // NaN stays the best
  for (size_t j = 0; j < width; ++j) best[j] = value(begin, j);
  std::fill_n(indices, width, static_cast<int32_t>(begin));
  for (size_t block = begin, stop; block < end; block = stop) {
    stop = std::min(end, block + kExtremeRows);
    typename C::Flags has_nan = 0;
    for (size_t j = 0; j < width; ++j) most[j] = value(block, j);
    for (size_t i = block; i < stop; ++i) {
      for (size_t j = 0; j < width; ++j) {
        const Value v = value(i, j);
        most[j] = v > most[j] ? v : most[j];
        if (C::kIsNative) has_nan |= v != v;
      }
    }
    for (size_t j = 0; j < width; ++j) {
      if (C::is_nan(best[j]) || (has_nan == 0 && !(most[j] > best[j]))) continue;
      size_t found = block;
      if (has_nan != 0) {
        while (found < stop && !C::is_nan(value(found, j))) ++found;
        if (found == stop && !(most[j] > best[j])) continue;
      }
      if (has_nan == 0 || found == stop) {
        for (found = block; found + 1 < stop && value(found, j) != most[j];) ++found;
      }
      best[j] = value(found, j);
      indices[j] = static_cast<int32_t>(found);
    }
  }
}

template <typename E, bool kLeast>
bool extremes_of_columns(const Team& team, const Operand& x, const Axis& axis,
                         int32_t* indices) {
  using T = typename E::Native;
  const T* first = x.as<T>();
  const size_t strips = (axis.inner + kExtremeColumns - 1) / kExtremeColumns;
  const size_t pieces = axis.outer * strips, columns = axis.outer * axis.inner;
  size_t parts = 1;  // of each column
  if (pieces < team.threads() && x.count >= kLongReadRow) {
    parts = std::min({team.threads(), kMostParts, axis.count});
  }
  std::vector<int32_t> apart(parts == 1 ? 0 : parts * columns);
  int32_t* found = parts == 1 ? indices : apart.data();
  const size_t length = (axis.count + parts - 1) / parts;
  const size_t weight = length * std::min(axis.inner, kExtremeColumns);
  const size_t together = std::max<size_t>(kLeastPiece / weight, 1);
  const size_t all = pieces * parts;
  const bool done = share_work(team, (all + together - 1) / together, [&](size_t work) {
    const size_t stop = std::min(all, (work + 1) * together);
    for (size_t i = work * together; i < stop; ++i) {
      const size_t part = i / pieces, outer = i % pieces / strips;
      const size_t column = i % strips * kExtremeColumns;
      const size_t width = std::min(kExtremeColumns, axis.inner - column);
      const size_t begin = std::min(part * length, axis.count - 1);
      const size_t end = std::min(begin + length, axis.count);
      extremes_of_strip<E, kLeast>(
          first + outer * axis.count * axis.inner + column, axis, width, begin, end,
          found + part * columns + outer * axis.inner + column);
    }
  });
  if (!done || parts == 1) return done;
  for (size_t column = 0; column < columns; ++column) {
    const size_t outer = column / axis.inner;
    const T* top = first + outer * axis.count * axis.inner + column % axis.inner;
    int32_t best = apart[column];
    for (size_t part = 1; part < parts; ++part) {
      const int32_t other = apart[part * columns + column];
      const auto at = [&](int32_t i) {
        return rank_of<E>(top[static_cast<size_t>(i) * axis.inner], kLeast);
      };
      if (at(other) > at(best)) best = other;
    }
    indices[column] = best;
  }
  return true;
}

// ---------------------------------------------------------------- the call

// Along the middle one of `axes`, as an Axis has them, the index of the first NaN, else
// of the first extreme.
inline ffi::Error extreme_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                               int64_t least, ffi::Span<const int64_t> axes,
                               ffi::RemainingArgs args,
                               ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  Axis axis;
  if (!read_axes(axes, x.count, &axis)) return wrong_axes();
  if (result->element_count() != axis.outer * axis.inner || axis.count > INT32_MAX ||
      result->element_type() != ffi::DataType::S32) {
    return wrong_call("shapes that differ");
  }
  auto* indices = static_cast<int32_t*>(result->untyped_data());
  const Team team(pool, args, words);
  bool done = false;
  try {
    const bool known = with_element(x.type, [&](auto element) {
      using E = decltype(element);
      if (axis.inner == 1) {
        done = extremes_of_rows<E>(team, x, axis, least != 0, indices);
      } else if (least != 0) {
        done = extremes_of_columns<E, true>(team, x, axis, indices);
      } else {
        done = extremes_of_columns<E, false>(team, x, axis, indices);
      }
    });
    if (!known) return wrong_call("elements of another type");
  } catch (const std::bad_alloc&) {
    done = false;
  }
  return team.outcome(done);
}

XLA_FFI_DEFINE_HANDLER(kExtremeCall, extreme_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("least")
                           .Attr<ffi::Span<const int64_t>>("axes")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_EXTREME_CALLS_H_
