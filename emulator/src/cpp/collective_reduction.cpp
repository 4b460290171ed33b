#include "collective_reduction.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace nkipy {
namespace {

// Integers wrap around.
template <typename T>
using Wrapping =
    typename std::conditional_t<std::is_integral_v<T> && (sizeof(T) >= 4),
                                std::make_unsigned<T>, std::common_type<T>>::type;

struct Add {
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};

struct Multiply {
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};

struct Minimum {
  template <typename T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (a == 0 && b == 0) return std::signbit(a) ? a : b;
      return a != a || a < b ? a : b;
    }
    return std::min(a, b);
  }
};

struct Maximum {
  template <typename T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (a == 0 && b == 0) return std::signbit(a) ? b : a;
      return a != a || a > b ? a : b;
    }
    return std::max(a, b);
  }
};

struct And {
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a & b);
  }
};

struct Or {
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a | b);
  }
};

struct Xor {
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

// Elements need not be aligned where they lie.
constexpr size_t kBlock = 1024;

template <typename Op, typename T>
void reduce(char* target, const std::vector<const char*>& sources, size_t count) {
  T sum[kBlock], next[kBlock];
  for (size_t done = 0; done < count; done += kBlock) {
    const size_t n = std::min(kBlock, count - done), offset = done * sizeof(T);
    memcpy(sum, sources[0] + offset, n * sizeof(T));
    for (size_t s = 1; s < sources.size(); ++s) {
      memcpy(next, sources[s] + offset, n * sizeof(T));
      for (size_t i = 0; i < n; ++i) sum[i] = Op::of(sum[i], next[i]);
    }
    memcpy(target + offset, sum, n * sizeof(T));
  }
}

template <typename T>
Reduce for_type(std::string_view opcode) {
  if (opcode == "add") return reduce<Add, T>;
  if (opcode == "multiply") return reduce<Multiply, T>;
  if (opcode == "minimum") return reduce<Minimum, T>;
  if (opcode == "maximum") return reduce<Maximum, T>;
  if constexpr (std::is_integral_v<T>) {
    if (opcode == "and") return reduce<And, T>;
    if (opcode == "or") return reduce<Or, T>;
    if (opcode == "xor") return reduce<Xor, T>;
  }
  return nullptr;
}

// bfloat16, rounded to nearest even after each operation.
float widened(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

uint16_t narrowed(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename Op>
struct InBfloat16 {
  template <typename T>
  static T of(T a, T b) {
    return narrowed(Op::of(widened(a), widened(b)));
  }
};

Reduce for_bfloat16(std::string_view opcode) {
  if (opcode == "add") return reduce<InBfloat16<Add>, uint16_t>;
  if (opcode == "multiply") return reduce<InBfloat16<Multiply>, uint16_t>;
  if (opcode == "minimum") return reduce<InBfloat16<Minimum>, uint16_t>;
  if (opcode == "maximum") return reduce<InBfloat16<Maximum>, uint16_t>;
  return nullptr;
}

// True and false: a sum is true if one is, as a product is if all are.
Reduce for_pred(std::string_view opcode) {
  if (opcode == "or" || opcode == "add" || opcode == "maximum") {
    return reduce<Or, uint8_t>;
  }
  if (opcode == "and" || opcode == "multiply" || opcode == "minimum") {
    return reduce<And, uint8_t>;
  }
  return opcode == "xor" ? reduce<Xor, uint8_t> : nullptr;
}

}  // namespace

Reduce find_reduction(std::string_view opcode, xla::ffi::DataType dtype) {
  using xla::ffi::DataType;
  switch (dtype) {
    case DataType::PRED:
      return for_pred(opcode);
    case DataType::S8:
      return for_type<int8_t>(opcode);
    case DataType::S16:
      return for_type<int16_t>(opcode);
    case DataType::S32:
      return for_type<int32_t>(opcode);
    case DataType::S64:
      return for_type<int64_t>(opcode);
    case DataType::U8:
      return for_type<uint8_t>(opcode);
    case DataType::U16:
      return for_type<uint16_t>(opcode);
    case DataType::U32:
      return for_type<uint32_t>(opcode);
    case DataType::U64:
      return for_type<uint64_t>(opcode);
    case DataType::BF16:
      return for_bfloat16(opcode);
    case DataType::F32:
      return for_type<float>(opcode);
    case DataType::F64:
      return for_type<double>(opcode);
    default:
      return nullptr;
  }
}

}  // namespace nkipy
