// The custom call that combines all elements along an axis, by NumPy's loops: to their
// extreme, of numbers among which one is NaN that, or to a sum of integers.

#ifndef NKIPY_EMULATOR_FOLD_CALLS_H_
#define NKIPY_EMULATOR_FOLD_CALLS_H_

#include <string.h>

#include <algorithm>
#include <string_view>

#include "axes.h"
#include "element_calls.h"
#include "handled_call.h"
#include "numpy_environment.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "row_parts.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Columns that go together: their extremes so far stay in the caches.
constexpr size_t kFoldColumns = 2048;
constexpr size_t kMostFoldParts = 8;

// A function of two elements, applied to one after the other.
struct Fold {
  const ElementFunction& function;
  size_t itemsize;

  // Of `count` elements in a row.
  void row(const char* x, size_t count, char* result) const {
    memcpy(result, x, itemsize);
    if (count == 1) return;
    const auto step = static_cast<Py_ssize_t>(itemsize);
    const auto others = static_cast<Py_ssize_t>(count - 1);
    char* arrays[3] = {result, const_cast<char*>(x) + itemsize, result};
    const Py_ssize_t steps[3] = {0, step, 0};
    function.loop(arrays, &others, steps, function.data);
  }

  // Of each of `width` columns, whose rows are `stride` bytes apart.
  void columns(const char* x, size_t count, size_t stride, size_t width,
               char* results) const {
    memcpy(results, x, width * itemsize);
    for (size_t i = 1; i < count; ++i) join(x + i * stride, width, results);
  }

  // Of results and others, one by one.
  void join(const char* x, size_t count, char* results) const {
    const auto size = static_cast<Py_ssize_t>(count);
    const auto step = static_cast<Py_ssize_t>(itemsize);
    char* arrays[3] = {results, const_cast<char*>(x), results};
    const Py_ssize_t steps[3] = {step, step, step};
    function.loop(arrays, &size, steps, function.data);
  }
};

inline bool fold_rows(const Team& team, const Fold& fold, const char* x,
                      const Axis& axis, char* results) {
  const auto fold_row = [&](bool divided, size_t row, Scratch* scratch) {
    const Parts parts(team, divided, axis.count, kLongReadRow);
    char* found = scratch->of<char>(parts.parts * fold.itemsize);
    const char* first = x + row * axis.count * fold.itemsize;
    const bool done = parts.each([&](size_t part, size_t begin, size_t end) {
      fold.row(first + begin * fold.itemsize, end - begin,
               found + part * fold.itemsize);
    });
    fold.row(found, parts.parts, results + row * fold.itemsize);
    return done;
  };
  return for_rows(team, axis.outer, axis.count, fold_row, kLongReadRow);
}

// Where there are few strips of columns, each of several parts of the rows is folded
// apart.
inline bool fold_columns(const Team& team, const Fold& fold, const char* x,
                         const Axis& axis, char* results) {
  const size_t strips = (axis.inner + kFoldColumns - 1) / kFoldColumns;
  const size_t pieces = axis.outer * strips;
  const size_t columns = axis.outer * axis.inner, stride = axis.inner * fold.itemsize;
  size_t parts = 1;
  if (pieces < team.threads() && axis.count * axis.inner >= kLongReadRow) {
    parts = std::min({team.threads(), kMostFoldParts, axis.count});
  }
  const size_t length = (axis.count + parts - 1) / parts;
  parts = (axis.count + length - 1) / length;  // none without a row
  const Memory apart =
      parts == 1 ? Memory() : allocate(parts * columns * fold.itemsize);
  char* found = parts == 1 ? results : static_cast<char*>(apart.get());
  const size_t weight = length * std::min(axis.inner, kFoldColumns);
  const size_t together = std::max<size_t>(kLeastPiece / weight, 1);
  const size_t all = pieces * parts;
  const bool done = share_work(team, (all + together - 1) / together, [&](size_t work) {
    const size_t stop = std::min(all, (work + 1) * together);
    for (size_t i = work * together; i < stop; ++i) {
      const size_t part = i / pieces, outer = i % pieces / strips;
      const size_t column = i % strips * kFoldColumns;
      const size_t begin = part * length;
      const size_t end = std::min(begin + length, axis.count);
      const size_t first = (outer * axis.count + begin) * axis.inner + column;
      const size_t to = part * columns + outer * axis.inner + column;
      fold.columns(x + first * fold.itemsize, end - begin, stride,
                   std::min(kFoldColumns, axis.inner - column),
                   found + to * fold.itemsize);
    }
  });
  if (done && parts != 1) {
    fold.columns(found, parts, columns * fold.itemsize, columns, results);
  }
  return done;
}

// Along the middle one of `axes`, as an Axis has them.
inline ffi::Error fold_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            std::string_view function, ffi::Span<const int64_t> axes,
                            ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  const ElementFunction* found = find_function(function.data(), function.size());
  if (found == nullptr) return unknown_function();
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  Axis axis;
  if (!read_axes(axes, x.count, &axis)) return wrong_axes();
  if (result->element_count() != axis.outer * axis.inner ||
      result->element_type() != x.type) {
    return wrong_call("shapes that differ");
  }
  if (!found->is_of(2, {x.type, x.type}, x.type, kOfElements))
    return unknown_function();
  const NumpyEnvironment environment;
  const Team team(pool, args, words);
  const Fold fold{*found, x.itemsize()};
  auto* results = static_cast<char*>(result->untyped_data());
  try {
    const auto fold_all = axis.inner == 1 ? fold_rows : fold_columns;
    return team.outcome(fold_all(team, fold, x.data, axis, results));
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kFoldCall, fold_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<std::string_view>("function")
                           .Attr<ffi::Span<const int64_t>>("axes")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_FOLD_CALLS_H_
