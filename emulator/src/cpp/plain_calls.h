// The custom calls of cheap work on elements that no loop of NumPy's does alone:
// choices between two arrays, conversions, and numbers of what is true.

#ifndef NKIPY_EMULATOR_PLAIN_CALLS_H_
#define NKIPY_EMULATOR_PLAIN_CALLS_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <type_traits>

#include "axes.h"
#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Calls `function(begin, end)` for parts of so many elements.
template <typename Function>
ffi::Error for_elements(const Team& team, size_t count, const Function& function) {
  const size_t length = piece_length(count, team.threads());
  const bool done = share_work(
      team, (count + length - 1) / length,
      [&](size_t piece) {
        const size_t begin = piece * length;
        function(begin, std::min(begin + length, count));
      },
      true);
  return team.outcome(done);
}

// ---------------------------------------------------------------- choices

template <typename T>
ffi::Error select_elements(const Team& team, const Operand* given, size_t count,
                           void* results) {
  const auto* mask = given[0].as<uint8_t>();
  const T *x = given[1].as<T>(), *y = given[2].as<T>();
  const bool one_x = given[1].count != count, one_y = given[2].count != count;
  auto* to = static_cast<T*>(results);
  return for_elements(team, count, [=](size_t begin, size_t end) {
    if (one_x && one_y) {
      const T a = *x, b = *y;
      for (size_t i = begin; i < end; ++i) to[i] = mask[i] != 0 ? a : b;
    } else if (one_x) {
      const T a = *x;
      for (size_t i = begin; i < end; ++i) {
        const T b = y[i];
        to[i] = mask[i] != 0 ? a : b;
      }
    } else if (one_y) {
      const T b = *y;
      for (size_t i = begin; i < end; ++i) {
        const T a = x[i];
        to[i] = mask[i] != 0 ? a : b;
      }
    } else {
      for (size_t i = begin; i < end; ++i) {
        const T a = x[i], b = y[i];
        to[i] = mask[i] != 0 ? a : b;
      }
    }
  });
}

// The second operand where the first one is true, else the third; either may be one
// element for all.
inline ffi::Error select_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                              int64_t elements, ffi::RemainingArgs args,
                              ffi::Result<ffi::AnyBuffer> result) {
  Operand given[3];
  if (!locate(args, words, 3, given)) return wrong_operands();
  const size_t count = result->element_count();
  const auto fits = [&](const Operand& x) {
    return x.type == result->element_type() && (x.count == count || x.count == 1);
  };
  if (given[0].type != ffi::DataType::PRED || given[0].count != count || count == 0 ||
      count != static_cast<size_t>(elements) || !fits(given[1]) || !fits(given[2])) {
    return wrong_call("shapes that differ");
  }
  const Team team(pool, args, words);
  void* to = result->untyped_data();
  switch (given[1].itemsize()) {
    case 1:
      return select_elements<uint8_t>(team, given, count, to);
    case 2:
      return select_elements<uint16_t>(team, given, count, to);
    case 4:
      return select_elements<uint32_t>(team, given, count, to);
    case 8:
      return select_elements<uint64_t>(team, given, count, to);
    default:
      return wrong_call("elements of another size");
  }
}

XLA_FFI_DEFINE_HANDLER(kSelectCall, select_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("elements")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

// ---------------------------------------------------------------- conversions

// Calls `function` with a value of an element type; false if it is none of these.
template <typename Function>
bool with_number_type(ffi::DataType type, const Function& function) {
  switch (type) {
    case ffi::DataType::PRED:
    case ffi::DataType::U8:
      return function(uint8_t{}), true;
    case ffi::DataType::S8:
      return function(int8_t{}), true;
    case ffi::DataType::S16:
      return function(int16_t{}), true;
    case ffi::DataType::U16:
      return function(uint16_t{}), true;
    case ffi::DataType::S32:
      return function(int32_t{}), true;
    case ffi::DataType::U32:
      return function(uint32_t{}), true;
    case ffi::DataType::S64:
      return function(int64_t{}), true;
    case ffi::DataType::U64:
      return function(uint64_t{}), true;
    case ffi::DataType::F32:
      return function(float{}), true;
    case ffi::DataType::F64:
      return function(double{}), true;
    default:
      return false;
  }
}

inline bool is_float_type(ffi::DataType type) {
  return type == ffi::DataType::F32 || type == ffi::DataType::F64;
}

// All elements in another type. Integers wrap; from floats to integers it does not go,
// nor to bool.
inline ffi::Error convert_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                               int64_t elements, ffi::RemainingArgs args,
                               ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  const size_t count = result->element_count();
  const ffi::DataType type = result->element_type();
  if (x.count != count || count != static_cast<size_t>(elements)) {
    return wrong_call("shapes that differ");
  }
  if (type == ffi::DataType::PRED || (is_float_type(x.type) && !is_float_type(type))) {
    return wrong_call("a conversion that is not known");
  }
  const Team team(pool, args, words);
  ffi::Error outcome = wrong_call("a type that is not known");
  void* to = result->untyped_data();
  with_number_type(x.type, [&](auto from_type) {
    with_number_type(type, [&](auto to_type) {
      using From = decltype(from_type);
      using To = decltype(to_type);
      // Floats as integers are undefined; they are refused above.
      if constexpr (std::is_integral_v<From> || std::is_floating_point_v<To>) {
        const From* from = x.as<From>();
        auto* made = static_cast<To*>(to);
        const NumpyEnvironment environment;
        outcome = for_elements(team, count, [=](size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) made[i] = static_cast<To>(from[i]);
        });
      }
    });
  });
  return outcome;
}

XLA_FFI_DEFINE_HANDLER(kConvertCall, convert_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("elements")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

// ---------------------------------------------------------------- counts

// How many of so many bytes, each 0 or 1, are 1.
inline size_t count_true(const uint8_t* x, size_t count) {
  constexpr size_t kMostInByte = 255, kLanes = 64;
  size_t sum = 0, i = 0;
  while (i + kLanes <= count) {  // in bytes, of which each holds as many as it can
    uint8_t lanes[kLanes] = {};
    const size_t rounds = std::min((count - i) / kLanes, kMostInByte);
    for (size_t k = 0; k < rounds; ++k, i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        lanes[lane] = static_cast<uint8_t>(lanes[lane] + x[i + lane]);
      }
    }
    for (const uint8_t lane : lanes) sum += lane;
  }
  for (; i < count; ++i) sum += x[i];
  return sum;
}

// Of each of `width` columns, in rows `stride` bytes apart.
inline void count_columns(const uint8_t* x, size_t count, size_t stride, size_t width,
                          int32_t* results) {
  constexpr size_t kMostInByte = 255, kColumns = 256;
  for (size_t column = 0; column < width; column += kColumns) {
    const size_t size = std::min(kColumns, width - column);
    int32_t* to = results + column;
    std::fill(to, to + size, 0);
    for (size_t row = 0; row < count;) {
      uint8_t lanes[kColumns] = {};
      const size_t end = std::min(row + kMostInByte, count);
      for (; row < end; ++row) {
        const uint8_t* from = x + row * stride + column;
        for (size_t i = 0; i < size; ++i) {
          lanes[i] = static_cast<uint8_t>(lanes[i] + from[i]);
        }
      }
      for (size_t i = 0; i < size; ++i) to[i] += lanes[i];
    }
  }
}

// Of true elements along the middle one of `axes`.
inline ffi::Error count_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                             ffi::Span<const int64_t> axes, ffi::RemainingArgs args,
                             ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  Axis axis;
  if (!read_axes(axes, x.count, &axis)) return wrong_axes();
  const size_t outer = axis.outer, along = axis.count, inner = axis.inner;
  if (x.type != ffi::DataType::PRED || result->element_type() != ffi::DataType::S32 ||
      result->element_count() != outer * inner) {
    return wrong_call("shapes that differ");
  }
  const Team team(pool, args, words);
  const auto* from = x.as<uint8_t>();
  auto* to = static_cast<int32_t*>(result->untyped_data());
  const size_t together = std::max<size_t>(kMostPiece / (along * inner), 1);
  const bool done = share_work(
      team, (outer + together - 1) / together,
      [&](size_t piece) {
        const size_t end = std::min(outer, (piece + 1) * together);
        for (size_t i = piece * together; i < end; ++i) {
          const uint8_t* first = from + i * along * inner;
          if (inner == 1) {
            to[i] = static_cast<int32_t>(count_true(first, along));
          } else {
            count_columns(first, along, inner, inner, to + i * inner);
          }
        }
      },
      true);
  return team.outcome(done);
}

XLA_FFI_DEFINE_HANDLER(kCountCall, count_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("axes")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_PLAIN_CALLS_H_
