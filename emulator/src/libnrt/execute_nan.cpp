#include "execute_nan.h"

#include <cstdint>
#include <cstring>

namespace emulator {
namespace {

// Bit patterns of floating point types: without its sign, a NaN is above infinity, or
// above the greatest number where there is no infinity.
struct FloatType {
  const char* name;
  std::size_t size;
  std::uint64_t magnitude;  // all bits but the sign
  std::uint64_t greatest;   // the greatest magnitude that is no NaN
};

constexpr FloatType kFloatTypes[] = {
    {"float32", 4, 0x7FFFFFFF, 0x7F800000},
    {"bfloat16", 2, 0x7FFF, 0x7F80},
    {"float16", 2, 0x7FFF, 0x7C00},
    {"float64", 8, 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000},
    {"float8_e5m2", 1, 0x7F, 0x7C},
    {"float8_e4m3", 1, 0x7F, 0x78},
    {"float8_e4m3fn", 1, 0x7F, 0x7E},
    {"float8_e3m4", 1, 0x7F, 0x70},
};

template <typename Bits>
bool any_above(const std::byte* data, std::size_t bytes, const FloatType& type) {
  const auto magnitude = static_cast<Bits>(type.magnitude);
  const auto greatest = static_cast<Bits>(type.greatest);
  constexpr std::size_t kBlock = 4096;  // without a branch inside, so as to vectorise
  for (std::size_t begin = 0; begin < bytes; begin += kBlock) {
    const std::size_t end = bytes - begin < kBlock ? bytes : begin + kBlock;
    bool found = false;
    for (std::size_t at = begin; at + sizeof(Bits) <= end; at += sizeof(Bits)) {
      Bits bits;
      std::memcpy(&bits, data + at, sizeof bits);
      found |= (bits & magnitude) > greatest;
    }
    if (found) return true;
  }
  return false;
}

}  // namespace

bool has_nan(const std::string& dtype, const std::byte* data, std::size_t bytes) {
  for (const FloatType& type : kFloatTypes) {
    if (dtype != type.name) continue;
    switch (type.size) {
      case 1:
        return any_above<std::uint8_t>(data, bytes, type);
      case 2:
        return any_above<std::uint16_t>(data, bytes, type);
      case 4:
        return any_above<std::uint32_t>(data, bytes, type);
      default:
        return any_above<std::uint64_t>(data, bytes, type);
    }
  }
  return false;
}

}  // namespace emulator
