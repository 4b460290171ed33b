// The custom call of running sums, products and extremes.

#ifndef NKIPY_EMULATOR_SCAN_CALLS_H_
#define NKIPY_EMULATOR_SCAN_CALLS_H_

#include <string.h>

#include <string_view>
#include <type_traits>

#include "axes.h"
#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Integers wrap: their unsigned twins are what is added and multiplied.
template <typename T, bool = std::is_integral_v<T>>
struct Wrapping {
  using Type = T;
};
template <typename T>
struct Wrapping<T, true> {  // not of fewer bits than int, which would be promoted to it
  using Type = std::conditional_t<sizeof(T) < sizeof(unsigned), unsigned,
                                  std::make_unsigned_t<T>>;
};

struct Add {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    using W = typename Wrapping<T>::Type;
    return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
  }
};

struct Multiply {
  // A block may overflow to infinity, which times zero would be NaN.
  static constexpr bool kByBlocks = false;
  template <typename T>
  static T of(T a, T b) {
    using W = typename Wrapping<T>::Type;
    return static_cast<T>(static_cast<W>(a) * static_cast<W>(b));
  }
};

// NaN, if there is one.
struct Maximum {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    return a >= b || a != a ? a : b;
  }
};

struct Minimum {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    return a <= b || a != a ? a : b;
  }
};

// Of integers alone, and so are the next two.
struct And {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a & b);
  }
};

struct Or {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a | b);
  }
};

struct Xor {
  static constexpr bool kByBlocks = true;
  template <typename T>
  static T of(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

// ---------------------------------------------------------------- running results

constexpr size_t kSpans = 8, kSpan = 128;

// One after the other, from `last` on.
template <typename Op, typename T>
T scan_in_order(const T* x, T* result, size_t count, T last) {
  for (size_t i = 0; i < count; ++i) result[i] = last = Op::of(last, x[i]);
  return last;
}

// By spans, several at once, since each step waits for the one before. To each element
// of a span is added what there was before the span: so results of numbers that are
// not negative never fall, and are rounded less often than one by one.
template <typename Op, typename T>
T scan_spans(const T* x, T* result, T last) {
  T lanes[kSpans];
  for (size_t k = 0; k < kSpans; ++k) result[k * kSpan] = lanes[k] = x[k * kSpan];
  for (size_t i = 1; i < kSpan; ++i) {
    for (size_t k = 0; k < kSpans; ++k) {
      result[k * kSpan + i] = lanes[k] = Op::of(lanes[k], x[k * kSpan + i]);
    }
  }
  for (size_t k = 0; k < kSpans; ++k) {
    T* span = result + k * kSpan;
    for (size_t i = 0; i < kSpan; ++i) span[i] = Op::of(last, span[i]);
    last = span[kSpan - 1];
  }
  return last;
}

template <typename Op, typename T>
void scan_row(const T* x, T* result, size_t count, T last) {
  size_t i = 0;
  if (Op::kByBlocks) {
    for (; i + kSpans * kSpan <= count; i += kSpans * kSpan) {
      last = scan_spans<Op>(x + i, result + i, last);
    }
  }
  scan_in_order<Op>(x + i, result + i, count - i, last);
}

template <typename Op, typename T>
void scan_columns(const T* x, T* result, const Axis& axis, size_t width, T start) {
  for (size_t j = 0; j < width; ++j) result[j] = Op::of(start, x[j]);
  for (size_t i = 1; i < axis.count; ++i) {
    const T* before = result;
    x += axis.inner;
    result += axis.inner;
    for (size_t j = 0; j < width; ++j) result[j] = Op::of(before[j], x[j]);
  }
}

// ---------------------------------------------------------------- calls

constexpr size_t kScanPiece = size_t{1} << 14;  // elements of rows that go together
constexpr size_t kScanWidth = 256;              // columns that do

struct Scanned {
  const Operand& x;
  const Operand& start;
  const ffi::AnyBuffer& result;
  Axis axis;
};

template <typename Op, typename T>
bool share_scan(const Team& team, const Scanned& s) {
  const Axis& axis = s.axis;
  const T* x = s.x.as<T>();
  auto* result = static_cast<T*>(s.result.untyped_data());
  const T start = *s.start.as<T>();
  if (axis.inner == 1) {
    const size_t rows = std::max<size_t>(kScanPiece / axis.count, 1);
    return share_work(team, (axis.outer + rows - 1) / rows, [&](size_t piece) {
      const size_t end = std::min((piece + 1) * rows, axis.outer);
      for (size_t row = piece * rows; row < end; ++row) {
        const size_t at = row * axis.count;
        scan_row<Op>(x + at, result + at, axis.count, start);
      }
    });
  }
  const size_t strips = (axis.inner + kScanWidth - 1) / kScanWidth;
  return share_work(team, axis.outer * strips, [&](size_t piece) {
    const size_t begin = piece % strips * kScanWidth, outer = piece / strips;
    const size_t width = std::min(kScanWidth, axis.inner - begin);
    const size_t at = outer * axis.count * axis.inner + begin;
    scan_columns<Op>(x + at, result + at, axis, width, start);
  });
}

template <typename T>
struct ScannedType {
  using Type = T;
};

// Calls `visit` with the type of an element that is a number; false if it is none.
template <typename Visit>
bool with_integer(ffi::DataType type, const Visit& visit) {
  switch (type) {
    case ffi::DataType::S8:
      return visit(ScannedType<int8_t>()), true;
    case ffi::DataType::U8:
      return visit(ScannedType<uint8_t>()), true;
    case ffi::DataType::S16:
      return visit(ScannedType<int16_t>()), true;
    case ffi::DataType::U16:
      return visit(ScannedType<uint16_t>()), true;
    case ffi::DataType::S32:
      return visit(ScannedType<int32_t>()), true;
    case ffi::DataType::U32:
      return visit(ScannedType<uint32_t>()), true;
    case ffi::DataType::S64:
      return visit(ScannedType<int64_t>()), true;
    case ffi::DataType::U64:
      return visit(ScannedType<uint64_t>()), true;
    default:
      return false;
  }
}

template <typename Visit>
bool with_number(ffi::DataType type, const Visit& visit) {
  if (type == ffi::DataType::F32) return visit(ScannedType<float>()), true;
  if (type == ffi::DataType::F64) return visit(ScannedType<double>()), true;
  return with_integer(type, visit);
}

template <typename Op>
ffi::Error scan_by(const Team& team, const Scanned& s) {
  bool done = false;
  const bool known = with_number(s.x.type, [&](auto type) {
    done = share_scan<Op, typename decltype(type)::Type>(team, s);
  });
  if (!known) return wrong_call("elements of another type");
  return team.outcome(done);
}

template <typename Op>
ffi::Error scan_bits_by(const Team& team, const Scanned& s) {
  bool done = false;
  const auto visit = [&](auto type) {
    done = share_scan<Op, typename decltype(type)::Type>(team, s);
  };
  const bool is_bool = s.x.type == ffi::DataType::PRED;
  if (!with_integer(is_bool ? ffi::DataType::U8 : s.x.type, visit)) {
    return wrong_call("elements of another type");
  }
  return team.outcome(done);
}

// `axes`: those of an Axis.
inline ffi::Error scan_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            std::string_view by, ffi::Span<const int64_t> axes,
                            ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [x, start] = operands;
  if (result->element_count() != x.count || result->element_type() != x.type ||
      start.count != 1 || start.type != x.type) {
    return wrong_call("shapes that differ");
  }
  if (x.count == 0) return ffi::Error::Success();
  Axis axis;
  if (!read_axes(axes, x.count, &axis)) return wrong_axes();
  const Scanned s{x, start, *result, axis};
  const Team team(pool, args, words);
  if (by == "add") return scan_by<Add>(team, s);
  if (by == "multiply") return scan_by<Multiply>(team, s);
  if (by == "maximum") return scan_by<Maximum>(team, s);
  if (by == "minimum") return scan_by<Minimum>(team, s);
  if (by == "and") return scan_bits_by<And>(team, s);
  if (by == "or") return scan_bits_by<Or>(team, s);
  if (by == "xor") return scan_bits_by<Xor>(team, s);
  return wrong_call("an operation that is not known");
}

XLA_FFI_DEFINE_HANDLER(kScanCall, scan_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<std::string_view>("by")
                           .Attr<ffi::Span<const int64_t>>("axes")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SCAN_CALLS_H_
