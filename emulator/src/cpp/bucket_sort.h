// Sorts long rows: what goes into buckets by the first digit of its key is sorted
// there, in a core's caches, with no more memory than a bucket takes.

#ifndef NKIPY_EMULATOR_BUCKET_SORT_H_
#define NKIPY_EMULATOR_BUCKET_SORT_H_

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <utility>
#include <vector>

#include "radix_sort.h"
#include "row_parts.h"

namespace nkipy {

// The highest bits in which keys differ.
struct FirstDigit {
  unsigned shift, width;

  explicit FirstDigit(uint64_t differing) : shift(0), width(0) {
    if (differing == 0) return;
    const unsigned end = 64 - static_cast<unsigned>(__builtin_clzll(differing));
    shift = end > kDigit ? end - kDigit : 0;
    width = end - shift;
  }
  size_t of(uint64_t key) const {
    return static_cast<size_t>(key >> shift) & ((size_t{1} << width) - 1);
  }
};

// Puts `value(key(i), i)` of each element i of a row into `to`, by the first digits of
// the keys; where these are equal, elements stay in order. `ends`: of the bucket of
// each digit, one if all keys are equal. False without memory, or if the call is over.
//
// Keys may be of memory that others write to meanwhile: what there is no place for any
// more goes nowhere, and then all is put in the order that it has.
template <typename T, typename KeyOf, typename ValueOf>
bool put_into_buckets(const Parts& row, const KeyOf& key, const ValueOf& value, T* to,
                      std::vector<uint32_t>* ends) {
  uint64_t differing[kMostParts] = {};
  const auto first = key(0);
  bool done = row.each([&](size_t part, size_t begin, size_t end) {
    auto found = static_cast<decltype(key(0))>(0);
    for (size_t i = begin; i < end; ++i) {
      found = static_cast<decltype(key(0))>(found | (key(i) ^ first));
    }
    differing[part] = found;
  });
  for (size_t part = 1; part < kMostParts; ++part) differing[0] |= differing[part];
  const FirstDigit digit(differing[0]);
  const size_t digits = size_t{1} << digit.width;
  std::vector<uint32_t> next(row.parts * digits), last(row.parts * digits);
  done = done && row.each([&](size_t part, size_t begin, size_t end) {
    uint32_t* own = next.data() + part * digits;
    for (size_t i = begin; i < end; ++i) ++own[digit.of(key(i))];
  });
  ends->resize(digits);
  uint32_t before = 0;
  for (size_t d = 0; d < digits; ++d) {
    for (size_t part = 0; part < row.parts; ++part) {
      before += std::exchange(next[part * digits + d], before);
      last[part * digits + d] = before;
    }
    (*ends)[d] = before;
  }
  done = done && row.each([&](size_t part, size_t begin, size_t end) {
    uint32_t* own = next.data() + part * digits;
    const uint32_t* own_last = last.data() + part * digits;
    for (size_t i = begin; i < end; ++i) {
      const auto k = key(i);
      const size_t d = digit.of(k);
      if (own[d] < own_last[d]) to[own[d]++] = value(k, i);
    }
  });
  if (done && next != last) {
    for (size_t i = 0; i < row.count; ++i) to[i] = value(key(i), i);
  }
  return done;
}

// Calls `sort(bucket, begin, scratch)` for each bucket that has elements: several at
// once, but one that has much of the row by all threads. It returns false without
// memory or if the call is over.
template <typename Sort>
bool sort_buckets(const Parts& row, const std::vector<uint32_t>& ends,
                  const Sort& sort) {
  const auto sort_one = [&](size_t bucket, bool by_all, Scratch* scratch) {
    const size_t begin = bucket == 0 ? 0 : ends[bucket - 1];
    const size_t count = ends[bucket] - begin;
    const bool is_large = row.parts > 1 && count >= row.count / (2 * row.parts);
    if (count == 0 || is_large != by_all) return true;
    return sort(Parts(row.team, by_all, count), begin, scratch);
  };
  Scratch scratch;
  if (row.parts > 1) {
    for (size_t bucket = 0; bucket < ends.size(); ++bucket) {
      if (!sort_one(bucket, true, &scratch)) return false;
    }
  }
  std::atomic<size_t> next{0};
  const auto sort_several = [&](size_t) {
    Scratch own;
    for (size_t bucket; (bucket = next.fetch_add(1)) < ends.size();) {
      if (!sort_one(bucket, false, &own)) throw std::bad_alloc();
    }
  };
  if (row.parts > 1) return share_work(row.team, row.parts, sort_several);
  sort_several(0);
  return !row.team.is_over();
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_BUCKET_SORT_H_
