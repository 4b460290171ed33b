// Sizes that a program says its arrays have, held against those that they do have.

#ifndef NKIPY_EMULATOR_AXES_H_
#define NKIPY_EMULATOR_AXES_H_

#include <stddef.h>
#include <stdint.h>

#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// Elements as (outer, count, inner), of which `count` is gone along.
struct Axis {
  size_t outer, count, inner;
};

// How many elements an array of these sizes has. False if a size is negative, or the
// sizes that are not 0 make more than there are numbers for.
template <typename Sizes>
bool count_of(const Sizes& sizes, size_t* elements) {
  size_t product = 1;
  bool is_empty = false;
  for (const int64_t size : sizes) {
    if (size < 0) return false;
    if (size == 0) {
      is_empty = true;
    } else if (__builtin_mul_overflow(product, static_cast<size_t>(size), &product)) {
      return false;
    }
  }
  *elements = is_empty ? 0 : product;
  return true;
}

// Whether an array of these sizes has so many elements.
template <typename Sizes>
bool are_sizes_of(const Sizes& sizes, size_t elements) {
  size_t count;
  return count_of(sizes, &count) && count == elements;
}

// `sizes` as those of an operand that has elements. False if they are of another.
inline bool read_axes(ffi::Span<const int64_t> sizes, size_t elements, Axis* axis) {
  if (sizes.size() != 3 || elements == 0 || !are_sizes_of(sizes, elements)) {
    return false;
  }
  const auto size = [&](size_t i) { return static_cast<size_t>(sizes[i]); };
  *axis = {size(0), size(1), size(2)};
  return true;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_AXES_H_
