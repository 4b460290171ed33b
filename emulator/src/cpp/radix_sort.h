// Sorts numbers by their digits.

#ifndef NKIPY_EMULATOR_RADIX_SORT_H_
#define NKIPY_EMULATOR_RADIX_SORT_H_

#include <stddef.h>
#include <stdint.h>

#include <utility>
#include <vector>

#include "row_parts.h"

namespace nkipy {

// Bits of a digit, and of one where there are too few elements to fill the counts.
constexpr unsigned kDigit = 11, kShortDigit = 8;
constexpr size_t kFewElements = size_t{1} << 13;

// A number and whose it is.
struct Ranked {
  uint64_t key;
  uint32_t index;
};

inline uint64_t number_of(const Ranked& x) { return x.key; }
template <typename T>
T number_of(T x) {
  return x;
}

// In which bits numbers differ.
template <typename T>
uint64_t differing_bits(const Parts& row, const T* x, bool* done) {
  uint64_t differing[kMostParts] = {};
  *done = row.each([&](size_t part, size_t begin, size_t end) {
    const auto first = number_of(x[0]);
    auto found = static_cast<decltype(number_of(x[0]))>(0);
    for (size_t i = begin; i < end; ++i) found |= number_of(x[i]) ^ first;
    differing[part] = found;
  });
  uint64_t all = 0;
  for (const uint64_t bits : differing) all |= bits;
  return all;
}

// Moves each element behind those of lower digits, and those before it of the same one.
template <typename T>
bool scatter_by_digit(const Parts& row, const T* from, T* to, unsigned shift,
                      unsigned width, std::vector<uint32_t>* counts) {
  const size_t digits = size_t{1} << width;
  const auto digit = [&](const T& x) {
    return static_cast<size_t>(number_of(x) >> shift) & (digits - 1);
  };
  counts->assign(row.parts * digits, 0);
  bool done = row.each([&](size_t part, size_t begin, size_t end) {
    uint32_t* own = counts->data() + part * digits;
    for (size_t i = begin; i < end; ++i) ++own[digit(from[i])];
  });
  uint32_t before = 0;
  for (size_t d = 0; d < digits; ++d) {
    for (size_t part = 0; part < row.parts; ++part) {
      before += std::exchange((*counts)[part * digits + d], before);
    }
  }
  done = done && row.each([&](size_t part, size_t begin, size_t end) {
    uint32_t* own = counts->data() + part * digits;
    for (size_t i = begin; i < end; ++i) to[own[digit(from[i])]++] = from[i];
  });
  return done;
}

// Sorts a row, of fewer than 2**32 numbers, by the bits from `low` on; equal ones stay
// in order. Returns where they are then, `x` or `scratch`; null without memory.
template <typename T>
T* sort_by_digits(const Parts& row, T* x, T* scratch, unsigned low) {
  bool done = false;
  uint64_t bits = row.count == 0 ? 0 : differing_bits(row, x, &done) >> low << low;
  const unsigned most = row.count < kFewElements ? kShortDigit : kDigit;
  std::vector<uint32_t> counts;
  while (done && bits != 0) {
    const auto shift = static_cast<unsigned>(__builtin_ctzll(bits));
    const unsigned left = 64 - static_cast<unsigned>(__builtin_clzll(bits)) - shift;
    const unsigned passes = (left + most - 1) / most;
    const unsigned width = (left + passes - 1) / passes;
    done = scatter_by_digit(row, x, scratch, shift, width, &counts);
    std::swap(x, scratch);
    const unsigned end = shift + width;
    bits = end == 64 ? 0 : bits >> end << end;
  }
  return done || row.count == 0 ? x : nullptr;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_RADIX_SORT_H_
