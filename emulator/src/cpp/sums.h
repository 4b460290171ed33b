// The custom call of sums of an argument's rows or columns, which take as long as
// reading it does: it is read where it lies, transposed or a slice of another as it may
// be, by all cores. Each sum is taken in one order, however many cores there are.

#ifndef NKIPY_EMULATOR_SUMS_H_
#define NKIPY_EMULATOR_SUMS_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <new>
#include <vector>

#include "element_calls.h"
#include "handled_call.h"
#include "numpy_environment.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

constexpr size_t kSumLanes = 32;       // sums side by side, which fill vector registers
constexpr size_t kSumBlock = 1 << 10;  // elements that are added in such lanes
constexpr size_t kSumPiece = 1 << 13;  // elements of one sum that one core adds
constexpr size_t kRowsPiece = 1 << 17;  // elements of whole sums that it does
constexpr size_t kColumns = 2048;  // results of a piece where columns are in memory

// Sums m, of n terms each.
template <typename T>
struct Sums {
  const T* first;
  size_t m, n, row, column;  // steps from result to result, and from term to term
  T* results;
};

template <typename T>
T sum_block(const T* x, size_t n) {
  T lanes[kSumLanes] = {};
  size_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (size_t k = 0; k < kSumLanes; ++k) lanes[k] += x[i + k];
  }
  for (size_t k = 0; i < n; ++i, ++k) lanes[k] += x[i];
  for (size_t width = kSumLanes / 2; width > 0; width /= 2) {
    for (size_t k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  }
  return lanes[0];
}

// The sum of `part(i)` from `begin` to `end`, in pairs of pairs, as NumPy adds: errors
// grow with the logarithm of how many there are.
template <typename T, typename Part>
T sum_in_pairs(size_t begin, size_t end, const Part& part) {
  if (end - begin == 1) return part(begin);
  const size_t middle = begin + (end - begin + 1) / 2;
  return sum_in_pairs<T>(begin, middle, part) + sum_in_pairs<T>(middle, end, part);
}

template <typename T>
T sum_in_blocks(const T* x, size_t count) {
  return sum_in_pairs<T>(0, (count + kSumBlock - 1) / kSumBlock, [&](size_t block) {
    const size_t i = block * kSumBlock;
    return sum_block(x + i, std::min(kSumBlock, count - i));
  });
}

// Results of columns `begin` to `end`, each of which lies beside the next.
template <typename T>
void add_rows(const Sums<T>& p, size_t begin, size_t end) {
  const size_t width = end - begin;
  T* results = p.results + begin;
  std::fill(results, results + width, T{0});
  size_t i = 0;
  for (; i + 4 <= p.n; i += 4) {  // results are loaded and stored once for four rows
    const T* a = p.first + i * p.column + begin;
    const T *b = a + p.column, *c = b + p.column, *d = c + p.column;
    for (size_t k = 0; k < width; ++k) results[k] += (a[k] + b[k]) + (c[k] + d[k]);
  }
  for (; i < p.n; ++i) {
    const T* a = p.first + i * p.column + begin;
    for (size_t k = 0; k < width; ++k) results[k] += a[k];
  }
}

template <typename T>
bool sum_rows(const Team& team, const Sums<T>& p) {
  if (p.m == 1) {
    const size_t pieces = (p.n + kSumPiece - 1) / kSumPiece;
    std::vector<T> sums(pieces);
    const bool done = share_work(team, pieces, [&](size_t i) {
      const size_t begin = i * kSumPiece;
      sums[i] = sum_in_blocks(p.first + begin, std::min(kSumPiece, p.n - begin));
    });
    p.results[0] = sum_in_pairs<T>(0, pieces, [&](size_t i) { return sums[i]; });
    return done;
  }
  if (p.column == 1) {
    const size_t rows = std::max<size_t>(1, kRowsPiece / p.n);
    return share_work(team, (p.m + rows - 1) / rows, [&](size_t piece) {
      for (size_t i = piece * rows; i < std::min(p.m, (piece + 1) * rows); ++i) {
        p.results[i] = sum_in_blocks(p.first + i * p.row, p.n);
      }
    });
  }
  return share_work(team, (p.m + kColumns - 1) / kColumns, [&](size_t piece) {
    add_rows(p, piece * kColumns, std::min(p.m, (piece + 1) * kColumns));
  });
}

template <typename T>
ffi::Error sums_at(const Team& team, const char* first, const int64_t* sizes,
                   void* results) {
  const auto size = [sizes](int i) { return static_cast<size_t>(sizes[i]); };
  const Sums<T> sums{
      reinterpret_cast<const T*>(first), size(0), size(1), size(2), size(3),
      static_cast<T*>(results)};
  const NumpyEnvironment environment;  // the last sums are as those of pieces
  try {
    return team.outcome(sum_rows(team, sums));
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

// `layout` has, in elements: where what is summed begins in its operand, how many
// results and terms there are, and the steps from one to the next.
inline ffi::Error sums_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            ffi::Span<const int64_t> layout, ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  const ffi::Error wrong = wrong_call("sums: a wrong layout");
  if (layout.size() != 5 || result->element_type() != x.type) return wrong;
  const int64_t *sizes = layout.begin() + 1, *steps = sizes + 2;
  size_t last;
  if (!last_of(steps, sizes, 2, &last)) return wrong;
  if (steps[1] != 1 && (sizes[0] == 1 || steps[0] != 1)) return wrong;
  if (result->element_count() != static_cast<size_t>(sizes[0])) return wrong;
  const char* first = element_of(x, layout[0], last);
  if (first == nullptr) return wrong;
  void* results = result->untyped_data();
  const Team team(pool, args, words);
  if (x.type == ffi::DataType::F32) return sums_at<float>(team, first, sizes, results);
  if (x.type == ffi::DataType::F64) return sums_at<double>(team, first, sizes, results);
  return wrong;
}

XLA_FFI_DEFINE_HANDLER(kSumsCall, sums_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("layout")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SUMS_H_
