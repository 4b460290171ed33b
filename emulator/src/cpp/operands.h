// Where the operands of a handler lie.

#ifndef NKIPY_EMULATOR_OPERANDS_H_
#define NKIPY_EMULATOR_OPERANDS_H_

#include <stddef.h>
#include <stdint.h>

#include "python_support.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// Bytes of an element; 0 of types that no handler has.
constexpr size_t width_of(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::PRED:
    case ffi::DataType::U8:
    case ffi::DataType::S8:
    case ffi::DataType::F8E5M2:
    case ffi::DataType::F8E4M3:
    case ffi::DataType::F8E4M3FN:
      return 1;
    case ffi::DataType::U16:
    case ffi::DataType::S16:
    case ffi::DataType::F16:
    case ffi::DataType::BF16:
      return 2;
    case ffi::DataType::U32:
    case ffi::DataType::S32:
    case ffi::DataType::F32:
      return 4;
    case ffi::DataType::U64:
    case ffi::DataType::S64:
    case ffi::DataType::F64:
      return 8;
    default:
      return 0;
  }
}

// Elements that lie beside each other, at a multiple of their size.
struct Operand {
  const char* data = nullptr;
  size_t count = 0;
  ffi::DataType type = ffi::DataType::INVALID;

  size_t itemsize() const { return width_of(type); }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data);
  }
};

// One of the program's inputs, by its place in a table: `words` from `table` on, which
// has the number of inputs, what type and how many elements each has, and the words of
// the call vector that say where they lie. False if it is none of these.
inline bool choose(const ffi::AnyBuffer& place, const ffi::AnyBuffer& vector,
                   ffi::Span<const int64_t> words, size_t table, Operand* chosen) {
  if (place.element_type() != ffi::DataType::S32 || place.element_count() != 1 ||
      vector.element_type() != ffi::DataType::U64 || table + 3 > words.size()) {
    return false;
  }
  const int64_t index = *static_cast<const int32_t*>(place.untyped_data());
  const int64_t inputs = words[table],
                left = static_cast<int64_t>(words.size() - table);
  if (index < 0 || index >= inputs || inputs > left - 3 || words[table + 2] < 0) {
    return false;
  }
  const int64_t word = words[table + 3 + static_cast<size_t>(index)];
  if (word < 0 || static_cast<size_t>(word) >= vector.element_count()) return false;
  const uint64_t address = static_cast<const uint64_t*>(vector.untyped_data())[word];
  if (words[table + 1] < 0 || words[table + 1] > UINT8_MAX) return false;
  const auto type = static_cast<ffi::DataType>(words[table + 1]);
  *chosen = {reinterpret_cast<const char*>(address),
             static_cast<size_t>(words[table + 2]), type};
  const size_t itemsize = chosen->itemsize();
  return itemsize != 0 && address != 0 && address % itemsize == 0;
}

// The operands of a call, of which there are to be `count`; false if they are others.
//
// `words` is empty, or has a number for each, and the call vector is the last argument.
// The number of an operand which is memory from an aligned address on, kAlignment bytes
// larger than what is meant, is the word of the call vector that says by how many
// elements this begins behind the address. Numbers from -2 down are of operands that
// say, as S32, which one of several inputs of the program is meant: see `choose`.
// Others have -1.
inline bool locate(const ffi::RemainingArgs& args, ffi::Span<const int64_t> words,
                   size_t count, Operand* operands) {
  const bool has_words = words.size() != 0;
  if (args.size() != count + (has_words ? 1 : 0)) return false;
  if (has_words && words.size() < count) return false;
  for (size_t i = 0; i < count; ++i) {
    const ffi::AnyBuffer buffer = *args.get<ffi::AnyBuffer>(i);
    Operand& operand = operands[i];
    operand = {static_cast<const char*>(buffer.untyped_data()), buffer.element_count(),
               buffer.element_type()};
    if (!has_words || words[i] == -1) continue;
    const ffi::AnyBuffer vector = *args.get<ffi::AnyBuffer>(count);
    if (words[i] < 0) {
      const auto table = static_cast<size_t>(-2 - words[i]);
      if (!choose(buffer, vector, words, table, &operand)) return false;
      continue;
    }
    const auto word = static_cast<size_t>(words[i]);
    const size_t itemsize = operand.itemsize();
    if (vector.element_type() != ffi::DataType::U64 || itemsize == 0) return false;
    const size_t margin = kAlignment / itemsize;
    if (word >= vector.element_count() || operand.count < margin) return false;
    const uint64_t start = static_cast<const uint64_t*>(vector.untyped_data())[word];
    if (start > margin) return false;
    operand.data += start * itemsize;
    operand.count -= margin;
  }
  return true;
}

// An operand's element at `offset`; null if it, or the last one from there, is none.
inline const char* element_of(const Operand& operand, int64_t offset, size_t last) {
  const auto start = static_cast<size_t>(offset);
  if (offset < 0 || start >= operand.count || last >= operand.count - start) {
    return nullptr;
  }
  return operand.data + start * operand.itemsize();
}

// The last element from the first on that is read of so many `dimensions`; false if a
// number is out of all bounds.
inline bool last_of(const int64_t* steps, const int64_t* sizes, int dimensions,
                    size_t* last) {
  constexpr int64_t kMost = int64_t{1} << 56;
  *last = 0;
  for (int i = 0; i < dimensions; ++i) {
    if (steps[i] < 0 || steps[i] > kMost || sizes[i] < 1 || sizes[i] > kMost) {
      return false;
    }
    int64_t part;
    if (__builtin_mul_overflow(steps[i], sizes[i] - 1, &part) || part > kMost) {
      return false;
    }
    *last += static_cast<size_t>(part);
  }
  return true;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_OPERANDS_H_
