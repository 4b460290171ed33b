// Sorts rows by NumPy's sort, long ones by several threads, where that is faster than
// by their digits.

#ifndef NKIPY_EMULATOR_SPLIT_SORT_H_
#define NKIPY_EMULATOR_SPLIT_SORT_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <type_traits>
#include <vector>

#include "numpy_kernels.h"
#include "order_keys.h"
#include "radix_sort.h"
#include "row_parts.h"

namespace nkipy {

// Rows of so many elements are divided among threads that NumPy's sort is called in.
// Those of two bytes it sorts faster than the others.
template <typename T>
constexpr size_t kLongSplitRow = size_t{1} << (sizeof(T) == 2 ? 17 : 14);

// ---------------------------------------------------------------- what is faster

// How long rows are that NumPy sorts faster than digits do, by the time that it takes
// for one of kTriedRow, as a part of theirs: it grows with the row, theirs does not.
struct NumpyShare {
  double most;
  size_t least_digits;
};
constexpr NumpyShare kNumpyShares[] = {{0.6, size_t{1} << 20}, {1.2, kLongRow}};
constexpr size_t kTriedRow = size_t{1} << 13;

template <size_t size>
using UnsignedOf =
    std::conditional_t<size == 8, uint64_t,
                       std::conditional_t<size == 4, uint32_t, uint16_t>>;

// The least of a few times that `sort` of a copy of `numbers` takes, in seconds.
template <typename T, typename Sort>
double seconds_of_sort(const std::vector<T>& numbers, const Sort& sort) {
  using Clock = std::chrono::steady_clock;
  std::vector<T> copy;
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    copy = numbers;
    const Clock::time_point begin = Clock::now();
    sort(copy.data());
    const std::chrono::duration<double> taken = Clock::now() - begin;
    least = std::min(least, taken.count());
  }
  return least;
}

// From so many elements on, rows are sorted by digits faster than by NumPy; 0 where
// short rows are, too. It is tried out, once in a process: by which instructions NumPy
// sorts is up to its release, the type and the CPU.
template <typename T>
size_t least_digits_beside_numpy(const Team& team) {
  static_assert(sizeof(T) > 1, "bytes have so few digits that it is not asked");
  static std::atomic<int64_t> known{-1};
  if (known >= 0) return static_cast<size_t>(known);
  using Key = UnsignedOf<sizeof(T)>;
  std::vector<T> numbers(kTriedRow), second(kTriedRow);
  uint64_t state = 1;
  for (T& x : numbers) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = static_cast<T>(static_cast<int64_t>(state) >> 8);
  }
  bool done = true;
  const double digits = seconds_of_sort(numbers, [&](T* x) {
    Key* sorted =
        sort_by_digits(Parts(team, false, kTriedRow), reinterpret_cast<Key*>(x),
                       reinterpret_cast<Key*>(second.data()), 0);
    done = done && sorted != nullptr;
  });
  if (!done) return 0;  // the call is over
  const NumpyEnvironment environment;
  const double numpy = seconds_of_sort(
      numbers, [](T* x) { sort_by_numpy(numpy_type<T>(), x, kTriedRow); });
  size_t found = 0;
  for (const NumpyShare& share : kNumpyShares) {
    if (numpy <= share.most * digits) found = std::max(found, share.least_digits);
  }
  known = static_cast<int64_t>(found);
  return found;
}

// ---------------------------------------------------------------- splitting

// Numbers that rows are split by are taken out of so many for each part.
constexpr size_t kSampled = 256;

// At a place of its own in each of `samples` pieces of a row, to meet no rhythm of it.
inline size_t sampled_place(size_t sample, size_t samples, size_t count) {
  const size_t length = count / samples;
  return sample * length + (sample + 1) * 2654435761u % length;
}

// What a row is split by, in ways of about the same size: way w has the numbers from
// first[w - 1] on that are below first[w]. None of these is NaN, which goes last.
template <typename T>
struct Splitters {
  T first[kMostParts];

  template <typename ValueOf>
  Splitters(const ValueOf& value, size_t count, size_t ways) {
    T sampled[kSampled * kMostParts];
    const size_t samples = kSampled * ways;
    for (size_t i = 0; i < samples; ++i) {
      sampled[i] = value(sampled_place(i, samples, count));
    }
    sort_by_numpy(numpy_type<T>(), sampled, samples);
    for (size_t way = 1; way < ways; ++way) {
      const T x = sampled[way * kSampled];
      first[way - 1] = x == x ? x : std::numeric_limits<T>::infinity();
    }
  }
};

// How many of some numbers are not below one.
template <typename T, typename ValueOf>
size_t count_from(const ValueOf& value, size_t begin, size_t end, T first) {
  size_t found = 0;
  while (begin < end) {
    const size_t stop = std::min(end, begin + kLongRow);
    uint32_t some = 0;  // as narrow as the numbers, or about so, for vectors
    for (; begin < stop; ++begin) some += !(value(begin) < first);
    found += some;
  }
  return found;
}

// Puts those of a row into `to` that `is_own`, as many as there is place for; those
// that are lacking, where others write to the row meanwhile, are zero.
template <typename T, typename ValueOf, typename IsOwn>
void take_own(const ValueOf& value, size_t count, const IsOwn& is_own, T* to, T* end) {
  for (size_t i = 0; i < count && to != end; ++i) {
    const T x = value(i);
    *to = x;  // the next one's place, if this is another's
    to += is_own(x);
  }
  std::fill(to, end, T{});
}

// Sorts the numbers `value(i)` of a row into `to`, by NumPy: each thread takes those
// of a way out of all, so that none reads what another has written.
template <typename T, typename ValueOf>
bool sort_in_ways(const Parts& row, const ValueOf& value, T* to) {
  const size_t ways = row.parts;
  const Splitters<T> splitters(value, row.count, ways);
  const T* first = splitters.first;
  size_t from[kMostParts][kMostParts] = {};
  const bool done = row.each([&](size_t part, size_t begin, size_t end) {
    for (size_t way = 1; way < ways; ++way) {
      from[part][way] = count_from(value, begin, end, first[way - 1]);
    }
  });
  if (!done) return false;
  T* begins[kMostParts + 1] = {to};
  for (size_t way = 1; way < ways; ++way) {
    size_t behind = 0;
    for (size_t part = 0; part < ways; ++part) behind += from[part][way];
    // No place twice, even if others write to the row between two counts.
    begins[way] = std::max(begins[way - 1], to + (row.count - behind));
  }
  begins[ways] = to + row.count;
  return share_work(row.team, ways, [&](size_t way) {
    T *const begin = begins[way], *const end = begins[way + 1];
    if (way == 0) {
      const T high = first[0];
      take_own(value, row.count, [high](T x) { return x < high; }, begin, end);
    } else if (way + 1 == ways) {
      const T low = first[way - 1];
      take_own(value, row.count, [low](T x) { return !(x < low); }, begin, end);
    } else {
      const T low = first[way - 1], high = first[way];
      const auto is_own = [low, high](T x) { return !(x < low) & (x < high); };
      take_own(value, row.count, is_own, begin, end);
    }
    sort_by_numpy(numpy_type<T>(), begin, static_cast<size_t>(end - begin));
  });
}

// The same, by one thread if there are no others or the row is short. False without
// memory, or if the call is over.
template <typename T, typename ValueOf>
bool sort_numbers(const Parts& parts, const ValueOf& value, T* to) {
  const Parts row(parts.team, parts.divided, parts.count, kLongSplitRow<T>);
  if (row.parts > 1) return sort_in_ways(row, value, to);
  if (row.team.is_over()) return false;
  for (size_t i = 0; i < row.count; ++i) to[i] = value(i);
  sort_by_numpy(numpy_type<T>(), to, row.count);
  return true;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SPLIT_SORT_H_
