// The custom call that slides one vector along another and sums their products: what
// np.convolve and np.correlate compute. XLA has a convolution of images for it.

#ifndef NKIPY_EMULATOR_SLIDE_CALLS_H_
#define NKIPY_EMULATOR_SLIDE_CALLS_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <vector>

#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Results that are summed side by side, in registers, and terms that are summed up
// before they are added to others: so rounding errors stay as small as in a dot
// product.
constexpr size_t kSlideTile = 32, kSlideTerms = 64;
// Multiplications of a piece of work.
constexpr size_t kSlidePiece = size_t{1} << 17;

// The vectors, and how many elements of the first are before it where the second begins
// at the first result.
template <typename T>
struct Slide {
  const T* x;
  size_t count;
  const T* weights;
  size_t terms;
  ptrdiff_t before;

  // The terms of a result from `begin` to `end`: where there is an element for each.
  ptrdiff_t begin(ptrdiff_t result) const {
    return std::clamp<ptrdiff_t>(before - result, 0, static_cast<ptrdiff_t>(terms));
  }
  ptrdiff_t end(ptrdiff_t result) const {
    return std::clamp<ptrdiff_t>(static_cast<ptrdiff_t>(count) + before - result, 0,
                                 static_cast<ptrdiff_t>(terms));
  }
};

template <typename T>
void add_terms(const Slide<T>& slide, ptrdiff_t result, ptrdiff_t begin, ptrdiff_t end,
               T* sum) {
  const T* from = slide.x + (result - slide.before);
  for (ptrdiff_t term = begin; term < end; ++term) {
    *sum += from[term] * slide.weights[term];
  }
}

// Of kSlideTile results, the terms that all of them have.
template <typename T>
void add_common_terms(const Slide<T>& slide, ptrdiff_t result, ptrdiff_t begin,
                      ptrdiff_t end, T* sums) {
  typedef T Vector __attribute__((vector_size(16), aligned(alignof(T)), may_alias));
  constexpr size_t kLanes = sizeof(Vector) / sizeof(T), kVectors = 8;
  const T* from = slide.x + (result - slide.before);
  for (size_t lane = 0; lane < kSlideTile; lane += kLanes * kVectors) {
    for (ptrdiff_t first = begin; first < end; first += kSlideTerms) {
      const ptrdiff_t last = std::min<ptrdiff_t>(first + kSlideTerms, end);
      Vector some[kVectors] = {};
      for (ptrdiff_t term = first; term < last; ++term) {
        const T weight = slide.weights[term];
        const auto* x = reinterpret_cast<const Vector*>(from + term + lane);
        for (size_t i = 0; i < kVectors; ++i) some[i] += x[i] * weight;
      }
      auto* to = reinterpret_cast<Vector*>(sums + lane);
      for (size_t i = 0; i < kVectors; ++i) to[i] += some[i];
    }
  }
}

// Results from `first` to `last`.
template <typename T>
void slide_along(const Slide<T>& slide, size_t first, size_t last, T* results) {
  constexpr auto kTile = static_cast<ptrdiff_t>(kSlideTile);
  const auto stop = static_cast<ptrdiff_t>(last);
  for (auto at = static_cast<ptrdiff_t>(first); at < stop; at += kTile) {
    const ptrdiff_t next = std::min(at + kTile, stop);
    T sums[kSlideTile] = {};
    // The first of a tile has the last of all beginnings, the last one the first end.
    const ptrdiff_t begin = slide.begin(at), end = slide.end(next - 1);
    const bool is_whole = next - at == kTile && begin < end;
    if (is_whole) add_common_terms(slide, at, begin, end, sums);
    const bool is_inside = slide.begin(next - 1) == begin && slide.end(at) == end;
    for (ptrdiff_t i = is_whole && is_inside ? next : at; i < next; ++i) {
      const ptrdiff_t from = slide.begin(i), to = slide.end(i);
      T* sum = sums + (i - at);
      if (is_whole) {
        add_terms(slide, i, from, begin, sum);
        add_terms(slide, i, end, to, sum);
      } else {
        for (ptrdiff_t part = from; part < to; part += kSlideTerms) {
          T some = 0;
          add_terms(slide, i, part, std::min<ptrdiff_t>(part + kSlideTerms, to), &some);
          *sum += some;
        }
      }
    }
    std::copy(sums, sums + (next - at), results + at);
  }
}

template <typename T>
ffi::Error slide_call_of(const Team& team, const Operand* given, size_t before,
                         bool turned, size_t count, void* results) {
  const T* weights = given[1].as<T>();
  std::vector<T> reversed;
  if (turned) {
    reversed.assign(weights, weights + given[1].count);
    std::reverse(reversed.begin(), reversed.end());
    weights = reversed.data();
  }
  const Slide<T> slide{given[0].as<T>(), given[0].count, weights, given[1].count,
                       static_cast<ptrdiff_t>(before)};
  const size_t tiles = std::max<size_t>(kSlidePiece / kSlideTile / slide.terms, 1);
  const size_t length = tiles * kSlideTile;
  auto* to = static_cast<T*>(results);
  const bool done = share_work(team, (count + length - 1) / length, [&](size_t piece) {
    const NumpyEnvironment environment;
    slide_along(slide, piece * length, std::min((piece + 1) * length, count), to);
  });
  return team.outcome(done);
}

// `before`: how many elements of the second operand are before the first one's first
// element at the first result; `turned`: the second one is taken from behind.
inline ffi::Error slide_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                             int64_t before, int64_t turned, ffi::RemainingArgs args,
                             ffi::Result<ffi::AnyBuffer> result) {
  Operand given[2];
  if (!locate(args, words, 2, given)) return wrong_operands();
  const size_t count = result->element_count();
  for (const Operand& x : given) {
    if (x.count == 0 || x.type != result->element_type()) {
      return wrong_call("types that differ, or no elements");
    }
  }
  const auto start = static_cast<size_t>(before);
  if (before < 0 || start >= given[1].count || count == 0 ||
      count > given[0].count + start) {
    return wrong_call("results that have no terms");
  }
  const Team team(pool, args, words);
  try {
    switch (result->element_type()) {
      case ffi::DataType::F32:
        return slide_call_of<float>(team, given, start, turned != 0, count,
                                    result->untyped_data());
      case ffi::DataType::F64:
        return slide_call_of<double>(team, given, start, turned != 0, count,
                                     result->untyped_data());
      default:
        return wrong_call("a type that is not known");
    }
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kSlideCall, slide_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("before")
                           .Attr<int64_t>("turned")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SLIDE_CALLS_H_
