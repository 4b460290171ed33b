// The custom calls that sort and look for extremes along the last axis.

#ifndef NKIPY_EMULATOR_ORDER_CALLS_H_
#define NKIPY_EMULATOR_ORDER_CALLS_H_

#include <string.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "element_calls.h"
#include "numpy_environment.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "work_sharing.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Rows of fewer elements are not divided among threads.
constexpr size_t kLongRow = size_t{1} << 16;

// ---------------------------------------------------------------- keys

// Unsigned numbers in the order of NumPy's sort. All that it takes for equal has one
// key: zeros of both signs, and all NaN, which are last.
template <typename Bits>
uint32_t key_of_float(Bits bits, Bits infinity) {
  constexpr auto sign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const auto magnitude = static_cast<Bits>(bits & ~sign);
  if (magnitude > infinity) return UINT32_MAX;
  if (magnitude == 0) return sign;
  return static_cast<Bits>((bits & sign) != 0 ? ~bits : bits | sign);
}

template <ffi::DataType type>
struct Element;  // how it is kept, and what NumPy sorts such by

template <typename T>
struct IntegerElement {
  using Native = T;
  static uint32_t key(T x) {
    using U = std::make_unsigned_t<T>;
    constexpr bool is_signed = std::is_signed_v<T>;
    constexpr auto flip =
        static_cast<U>(is_signed ? U{1} << (8 * sizeof(T) - 1) : U{0});
    return static_cast<U>(static_cast<U>(x) ^ flip);
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
struct Element<ffi::DataType::F16> {
  using Native = uint16_t;
  static uint32_t key(uint16_t bits) { return key_of_float<uint16_t>(bits, 0x7C00); }
};
template <>
struct Element<ffi::DataType::BF16> {
  using Native = uint16_t;
  static uint32_t key(uint16_t bits) { return key_of_float<uint16_t>(bits, 0x7F80); }
};
template <>
struct Element<ffi::DataType::F32> {
  using Native = float;
  static uint32_t key(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return key_of_float<uint32_t>(bits, 0x7F800000);
  }
};

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
    NKIPY_CASE(F16)
    NKIPY_CASE(BF16)
    NKIPY_CASE(F32)
#undef NKIPY_CASE
    default:
      return false;
  }
}

// What NumPy sorts a C++ type as; kCount if not at all.
template <typename T>
constexpr NumpyType numpy_type() {
  if (std::is_same_v<T, int16_t>) return NumpyType::kInt16;
  if (std::is_same_v<T, uint16_t>) return NumpyType::kUint16;
  if (std::is_same_v<T, int32_t>) return NumpyType::kInt32;
  if (std::is_same_v<T, uint32_t>) return NumpyType::kUint32;
  if (std::is_same_v<T, uint64_t>) return NumpyType::kUint64;
  if (std::is_same_v<T, float>) return NumpyType::kFloat32;
  return NumpyType::kCount;
}

// ---------------------------------------------------------------- one row

template <typename T>
bool is_before(T x, T y) {
  if constexpr (std::is_same_v<T, float>) return x < y || (x == x && y != y);
  return x < y;
}

// Sorts a row; a long one by several threads, each a part, which are merged then.
template <typename T>
bool sort_row(ffi::ThreadPool* pool, T* row, size_t count) {
  size_t parts = 1;
  if (pool != nullptr && count >= kLongRow) {
    while (parts * 2 <= std::min<size_t>(threads_of(*pool), 16)) parts *= 2;
  }
  if (parts == 1) {
    sort_by_numpy(numpy_type<T>(), row, count);
    return true;
  }
  const auto bound = [&](size_t part, size_t of) {
    return count / of * part + std::min(part, count % of);
  };
  bool done = share_work(*pool, parts, [&](size_t part) {
    T* begin = row + bound(part, parts);
    sort_by_numpy(numpy_type<T>(), begin, row + bound(part + 1, parts) - begin);
  });
  std::vector<size_t> bounds;
  for (size_t i = 0; i <= parts; ++i) bounds.push_back(bound(i, parts));
  std::vector<T> scratch(count);
  T *from = row, *to = scratch.data();
  for (size_t step = 1; step < parts; step *= 2, std::swap(from, to)) {
    done = done && share_work(*pool, parts / step / 2, [&](size_t pair) {
             const size_t* at = &bounds[pair * step * 2];
             std::merge(from + at[0], from + at[step], from + at[step],
                        from + at[2 * step], to + at[0], is_before<T>);
           });
  }
  if (from != row) memcpy(row, from, count * sizeof(T));
  return done;
}

// Of a sorted row: has elements that are equal and differ follow each other as they did
// before, in `source`: zeros of both signs, and NaN, of which a sort may make others.
// Who writes to `source` meanwhile may have put more of them there.
inline void restore_equals(const float* source, float* row, size_t count) {
  float* nan = std::partition_point(row, row + count, [](float x) { return x == x; });
  float* zero = std::partition_point(row, nan, [](float x) { return x < 0; });
  float* above = std::partition_point(zero, nan, [](float x) { return x == 0; });
  const auto negative = [](float x) { return __builtin_signbit(x) != 0; };
  const bool mixed =
      std::any_of(zero, above, negative) && !std::all_of(zero, above, negative);
  if (nan == row + count && !mixed) return;
  for (size_t i = 0; i < count; ++i) {
    if (source[i] != source[i]) {
      if (nan != row + count) memcpy(nan++, source + i, sizeof(float));
    } else if (mixed && source[i] == 0) {
      if (zero != above) *zero++ = source[i];
    }
  }
}

// The order of a row's elements: their keys, each with its index below it, which makes
// the sort a stable one.
template <typename E>
bool order_of(ffi::ThreadPool* pool, const typename E::Native* row, size_t count,
              bool descending, std::vector<uint64_t>* order) {
  order->resize(count);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t key = descending ? ~E::key(row[i]) : E::key(row[i]);
    (*order)[i] = key << 32 | i;
  }
  return sort_row(pool, order->data(), count);
}

template <typename T>
void gather(const std::vector<uint64_t>& order, const void* from, void* to) {
  for (size_t i = 0; i < order.size(); ++i) {
    static_cast<T*>(to)[i] =
        static_cast<const T*>(from)[static_cast<uint32_t>(order[i])];
  }
}

inline void gather_bytes(const std::vector<uint64_t>& order, size_t size,
                         const char* from, char* to) {
  if (size == 1) return gather<uint8_t>(order, from, to);
  if (size == 2) return gather<uint16_t>(order, from, to);
  if (size == 4) return gather<uint32_t>(order, from, to);
  return gather<uint64_t>(order, from, to);
}

// ---------------------------------------------------------------- sort

struct Column {
  const char* from;
  char* to;
  size_t size;  // of an element
};

template <typename E>
bool sort_columns(ffi::ThreadPool* pool, const std::vector<Column>& columns, size_t row,
                  size_t count, bool descending) {
  using T = typename E::Native;
  const auto* source = reinterpret_cast<const T*>(columns[0].from) + row * count;
  if constexpr (numpy_type<T>() != NumpyType::kCount &&
                (std::is_same_v<T, float> || std::is_base_of_v<IntegerElement<T>, E>)) {
    if (columns.size() == 1 && !descending) {
      T* target = reinterpret_cast<T*>(columns[0].to) + row * count;
      memcpy(target, source, count * sizeof(T));
      const bool done = sort_row(pool, target, count);
      if constexpr (std::is_same_v<T, float>) restore_equals(source, target, count);
      return done;
    }
  }
  std::vector<uint64_t> order;
  if (!order_of<E>(pool, source, count, descending, &order)) return false;
  for (const Column& column : columns) {
    const size_t offset = row * count * column.size;
    gather_bytes(order, column.size, column.from + offset, column.to + offset);
  }
  return true;
}

// Calls `function(pool or null, row)`: rows at once, or one by one and each by all.
template <typename Function>
bool for_rows(ffi::ThreadPool& pool, size_t rows, size_t count,
              const Function& function) {
  if (rows < threads_of(pool) && count >= kLongRow) {
    bool done = true;
    const NumpyEnvironment environment;
    for (size_t row = 0; done && row < rows; ++row) done = function(&pool, row);
    return done;
  }
  const size_t together = std::max<size_t>(kLeastPiece / std::max<size_t>(count, 1), 1);
  return share_work(pool, (rows + together - 1) / together, [&](size_t piece) {
    const size_t end = std::min(rows, (piece + 1) * together);
    for (size_t row = piece * together; row < end; ++row) function(nullptr, row);
  });
}

inline size_t last_of(const ffi::AnyBuffer& buffer) {
  const auto dimensions = buffer.dimensions();
  return dimensions.size() == 0
             ? 1
             : static_cast<size_t>(dimensions[dimensions.size() - 1]);
}

// The operands in the order of the first one along the last axis, stable.
inline ffi::Error sort_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            int64_t descending, ffi::RemainingArgs args,
                            ffi::RemainingRets results) {
  if (results.size() == 0) return wrong_call("no operands");
  const ffi::AnyBuffer sorted = **results.get<ffi::AnyBuffer>(0);
  const size_t count = last_of(sorted), elements = sorted.element_count();
  if (elements == 0) return ffi::Error::Success();
  if (count > UINT32_MAX) return wrong_call("a row that is too long");
  bool done = false;
  try {
    std::vector<Operand> operands(results.size());
    if (!locate(args, words, operands.size(), operands.data())) return wrong_operands();
    std::vector<Column> columns;
    for (size_t i = 0; i < operands.size(); ++i) {
      ffi::AnyBuffer to = **results.get<ffi::AnyBuffer>(i);
      const Operand& from = operands[i];
      if (from.count != elements || to.element_count() != elements ||
          to.element_type() != from.type) {
        return wrong_call("shapes that differ");
      }
      columns.push_back(
          {from.data, static_cast<char*>(to.untyped_data()), from.itemsize()});
    }
    const bool known = with_element(operands[0].type, [&](auto element) {
      done = for_rows(pool, elements / count, count,
                      [&](ffi::ThreadPool* helpers, size_t row) {
                        return sort_columns<decltype(element)>(helpers, columns, row,
                                                               count, descending != 0);
                      });
    });
    if (!known) return wrong_call("keys of another type");
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  return done ? ffi::Error::Success() : no_memory();
}

// ---------------------------------------------------------------- extremes

template <typename T>
size_t arg_extreme(ffi::ThreadPool* pool, const T* row, size_t count, bool least) {
  const size_t parts = pool == nullptr ? 1 : threads_of(*pool);
  if (parts == 1) return arg_extreme_by_numpy(numpy_type<T>(), row, count, least);
  const size_t length = (count + parts - 1) / parts;
  std::vector<size_t> found(parts, count);
  const bool done = share_work(*pool, parts, [&](size_t part) {
    const size_t begin = part * length;
    if (begin >= count) return;
    const size_t size = std::min(length, count - begin);
    found[part] =
        begin + arg_extreme_by_numpy(numpy_type<T>(), row + begin, size, least);
  });
  if (!done) throw std::bad_alloc();
  size_t best = found[0];
  for (size_t i : found) {
    if (i == count || row[best] != row[best]) break;
    const bool better = least ? row[i] < row[best] : row[best] < row[i];
    if (better || row[i] != row[i]) best = i;
  }
  return best;
}

// Along the last axis, the index of the first NaN, else of the first extreme.
inline ffi::Error extreme_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                               int64_t least, ffi::RemainingArgs args,
                               ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  const size_t rows = result->element_count(), count = rows == 0 ? 0 : x.count / rows;
  if (count * rows != x.count || count == 0 || count > INT32_MAX ||
      result->element_type() != ffi::DataType::S32) {
    return wrong_call("shapes that differ");
  }
  auto* indices = static_cast<int32_t*>(result->untyped_data());
  bool known = false, done = false;
  try {
    with_element(x.type, [&](auto element) {
      using T = typename decltype(element)::Native;
      constexpr bool is_bits = std::is_same_v<T, uint16_t>;
      if constexpr (numpy_type<T>() != NumpyType::kCount && !is_bits) {
        const T* first = x.as<T>();
        known = true;
        done = for_rows(pool, rows, count, [&](ffi::ThreadPool* helpers, size_t row) {
          indices[row] = static_cast<int32_t>(
              arg_extreme(helpers, first + row * count, count, least != 0));
          return true;
        });
      }
    });
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  if (!known) return wrong_call("elements of another type");
  return done ? ffi::Error::Success() : no_memory();
}

XLA_FFI_DEFINE_HANDLER(kSortCall, sort_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("descending")
                           .RemainingArgs()
                           .RemainingRets());
XLA_FFI_DEFINE_HANDLER(kExtremeCall, extreme_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("least")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ORDER_CALLS_H_
