// How the elements of arrays are told apart and put in order, whatever their type.

#ifndef NKIPY_EMULATOR_ORDER_KEYS_H_
#define NKIPY_EMULATOR_ORDER_KEYS_H_

#include <stdint.h>
#include <string.h>

#include <limits>
#include <type_traits>

#include "numpy_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// Of each element type:
//   Native    how an element is kept;
//   Key       unsigned numbers in the order of NumPy's sort. All that it takes for
//             equal has one key: zeros of both signs, and all NaN, which are last;
//   Rank      signed numbers, of which an element that argmax takes (argmin, of those
//             in the opposite order) has the greatest: NaN has, in either.
template <ffi::DataType type>
struct Element;

template <typename T>
struct IntegerElement {
  using Native = T;
  using Key = std::make_unsigned_t<T>;
  using Rank = std::make_signed_t<T>;
  static constexpr bool kIsFloat = false;
  static constexpr Key kLow =
      std::is_signed_v<T> ? Key(Key{1} << (8 * sizeof(T) - 1)) : Key{0};

  static Key key(T x) { return static_cast<Key>(static_cast<Key>(x) ^ kLow); }
  static T of_key(Key key) { return static_cast<T>(static_cast<Key>(key ^ kLow)); }
  static Rank rank(T x) {
    constexpr Key flip =
        std::is_signed_v<T> ? Key{0} : Key(Key{1} << (8 * sizeof(T) - 1));
    return static_cast<Rank>(static_cast<Key>(static_cast<Key>(x) ^ flip));
  }
  static Rank opposite_rank(T x) { return static_cast<Rank>(~rank(x)); }
};

// `kInfinity`: the greatest magnitude that is not NaN, as bits.
template <typename T, typename Bits, Bits kInfinity>
struct FloatElement {
  using Native = T;
  using Key = Bits;
  using Rank = std::make_signed_t<Bits>;
  static constexpr bool kIsFloat = true;
  static constexpr auto kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  static constexpr auto kNan = static_cast<Bits>(~Bits{0});
  static constexpr Bits kZero = kSign;

  static Bits bits(T x) {
    Bits found;
    memcpy(&found, &x, sizeof found);
    return found;
  }
  static Key key(T x) {
    const Bits b = bits(x);
    const auto magnitude = static_cast<Bits>(b & static_cast<Bits>(~kSign));
    if (magnitude > kInfinity) return kNan;
    if (magnitude == 0) return kZero;
    return static_cast<Bits>((b & kSign) != 0 ? ~b : b | kSign);
  }
  // One of those that have the key.
  static T of_key(Key key) {
    const auto b = static_cast<Bits>((key & kSign) != 0 ? key ^ kSign : ~key);
    T x;
    memcpy(&x, &b, sizeof x);
    return x;
  }
  static Rank rank(T x) { return rank_of<false>(x); }
  static Rank opposite_rank(T x) { return rank_of<true>(x); }

 private:
  template <bool is_opposite>
  static Rank rank_of(T x) {
    // Without branches, so that many are computed at once.
    const auto b = static_cast<Rank>(bits(x));
    const auto magnitude = static_cast<Rank>(b & std::numeric_limits<Rank>::max());
    const auto sign = static_cast<Rank>((is_opposite ? ~b : b) >> (8 * sizeof(b) - 1));
    const auto number = static_cast<Rank>((magnitude ^ sign) - sign);
    const auto is_nan = static_cast<Rank>(-(magnitude > static_cast<Rank>(kInfinity)));
    return static_cast<Rank>((number & static_cast<Rank>(~is_nan)) |
                             (std::numeric_limits<Rank>::max() & is_nan));
  }
};

template <>
struct Element<ffi::DataType::PRED> : IntegerElement<uint8_t> {};
template <>
struct Element<ffi::DataType::U8> : IntegerElement<uint8_t> {};
template <>
struct Element<ffi::DataType::S8> : IntegerElement<int8_t> {};
template <>
struct Element<ffi::DataType::U16> : IntegerElement<uint16_t> {};
template <>
struct Element<ffi::DataType::S16> : IntegerElement<int16_t> {};
template <>
struct Element<ffi::DataType::U32> : IntegerElement<uint32_t> {};
template <>
struct Element<ffi::DataType::S32> : IntegerElement<int32_t> {};
template <>
struct Element<ffi::DataType::U64> : IntegerElement<uint64_t> {};
template <>
struct Element<ffi::DataType::S64> : IntegerElement<int64_t> {};
template <>
struct Element<ffi::DataType::F16> : FloatElement<uint16_t, uint16_t, 0x7C00> {};
template <>
struct Element<ffi::DataType::BF16> : FloatElement<uint16_t, uint16_t, 0x7F80> {};
template <>
struct Element<ffi::DataType::F32> : FloatElement<float, uint32_t, 0x7F800000> {};
template <>
struct Element<ffi::DataType::F64>
    : FloatElement<double, uint64_t, 0x7FF0000000000000> {};
template <>
struct Element<ffi::DataType::F8E5M2> : FloatElement<uint8_t, uint8_t, 0x7C> {};
template <>
struct Element<ffi::DataType::F8E4M3> : FloatElement<uint8_t, uint8_t, 0x78> {};
template <>  // has no infinity
struct Element<ffi::DataType::F8E4M3FN> : FloatElement<uint8_t, uint8_t, 0x7E> {};

// Calls `visit` with the element type; false if there is none for it.
template <typename Visit>
bool with_element(ffi::DataType type, const Visit& visit) {
  switch (type) {
#define NKIPY_CASE(name)                   \
  case ffi::DataType::name:                \
    visit(Element<ffi::DataType::name>()); \
    return true;
    NKIPY_CASE(PRED)
    NKIPY_CASE(U8)
    NKIPY_CASE(S8)
    NKIPY_CASE(U16)
    NKIPY_CASE(S16)
    NKIPY_CASE(U32)
    NKIPY_CASE(S32)
    NKIPY_CASE(U64)
    NKIPY_CASE(S64)
    NKIPY_CASE(F16)
    NKIPY_CASE(BF16)
    NKIPY_CASE(F32)
    NKIPY_CASE(F64)
    NKIPY_CASE(F8E5M2)
    NKIPY_CASE(F8E4M3)
    NKIPY_CASE(F8E4M3FN)
#undef NKIPY_CASE
    default:
      return false;
  }
}

// What NumPy knows a C++ type as.
template <typename T>
constexpr NumpyType numpy_type() {
  if (std::is_same_v<T, int8_t>) return NumpyType::kInt8;
  if (std::is_same_v<T, uint8_t>) return NumpyType::kUint8;
  if (std::is_same_v<T, int16_t>) return NumpyType::kInt16;
  if (std::is_same_v<T, uint16_t>) return NumpyType::kUint16;
  if (std::is_same_v<T, int32_t>) return NumpyType::kInt32;
  if (std::is_same_v<T, uint32_t>) return NumpyType::kUint32;
  if (std::is_same_v<T, int64_t>) return NumpyType::kInt64;
  if (std::is_same_v<T, uint64_t>) return NumpyType::kUint64;
  if (std::is_same_v<T, float>) return NumpyType::kFloat32;
  static_assert(std::is_arithmetic_v<T>, "one of those above, or double");
  return NumpyType::kFloat64;
}

// Whether NumPy has the elements' type, and so its kernels.
template <typename E>
constexpr bool is_of_numpy() {
  return !E::kIsFloat || std::is_floating_point_v<typename E::Native>;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ORDER_KEYS_H_
