// The custom call that sorts along the last axis.

#ifndef NKIPY_EMULATOR_ORDER_CALLS_H_
#define NKIPY_EMULATOR_ORDER_CALLS_H_

#include <string.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "element_calls.h"
#include "handled_call.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "order_keys.h"
#include "radix_sort.h"
#include "row_parts.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Rows of fewer elements are sorted by NumPy, others by their digits, of which short
// keys have few; NumPy takes longer for the keys with their indices.
template <typename Key>
constexpr size_t least_digits(bool is_alone) {
  return sizeof(Key) <= 2 ? 256 : is_alone ? 2048 : 768;
}

// ---------------------------------------------------------------- keys alone

// Of a sorted row, whose keys are `flip`ped: where those of a key begin.
template <typename E>
typename E::Native* first_of(typename E::Native* row, size_t count, typename E::Key key,
                             typename E::Key flip) {
  const auto sought = static_cast<typename E::Key>(key ^ flip);
  while (count > 0) {  // without a branch that is hard to foresee
    const size_t half = (count + 1) / 2;
    const bool is_before =
        static_cast<typename E::Key>(E::key(row[half - 1]) ^ flip) < sought;
    row += is_before ? half : 0;
    count -= half;
  }
  return row;
}

// Of a sorted row: has elements that are equal and differ follow each other as they did
// before, in `source`: zeros of both signs, and NaN. `has_bits`: whether the row has
// the zeros of the source in another order, not just as many. Who writes to `source`
// meanwhile may have put more of them there.
template <typename E>
void restore_equals(const typename E::Native* source, typename E::Native* row,
                    size_t count, bool descending, bool has_bits) {
  using T = typename E::Native;
  using Key = typename E::Key;
  const Key flip = descending ? E::kNan : Key{0};
  const bool has_nan = E::key(row[descending ? 0 : count - 1]) == E::kNan;
  T* nan = has_nan ? first_of<E>(row, count, E::kNan, flip) : nullptr;
  T* zero = first_of<E>(row, count, E::kZero, flip);
  bool has_zeros = zero != row + count && E::key(*zero) == E::kZero;
  if (has_zeros && has_bits) {
    const auto sign = E::bits(*zero);
    has_zeros = std::any_of(zero, row + count, [&](T x) {
      return E::key(x) == E::kZero && E::bits(x) != sign;
    });
  }
  if (!has_nan && !has_zeros) return;
  const T* const end = row + count;
  for (size_t i = 0; i < count; ++i) {
    const Key key = E::key(source[i]);
    if (has_nan && key == E::kNan && nan != end) memcpy(nan++, source + i, sizeof(T));
    if (has_zeros && key == E::kZero && zero != end) *zero++ = source[i];
  }
}

template <typename E>
bool sort_alone(const Parts& parts, const typename E::Native* source,
                typename E::Native* target, bool descending, Scratch* scratch) {
  using T = typename E::Native;
  using Key = typename E::Key;
  const size_t count = parts.count;
  if constexpr (is_of_numpy<E>()) {
    if (count < least_digits<Key>(true) && !descending) {
      memcpy(target, source, count * sizeof(T));
      sort_by_numpy(numpy_type<T>(), target, count);
      if constexpr (E::kIsFloat) restore_equals<E>(source, target, count, false, true);
      return true;
    }
  }
  auto* keys = reinterpret_cast<Key*>(target);
  const auto flip = static_cast<Key>(descending ? ~Key{0} : Key{0});
  bool done = parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      keys[i] = static_cast<Key>(E::key(source[i]) ^ flip);
    }
  });
  if (count < least_digits<Key>(true)) {
    sort_by_numpy(numpy_type<Key>(), keys, count);
  } else {
    keys = done ? sort_by_digits(parts, keys, scratch->of<Key>(count), 0) : nullptr;
  }
  if (keys == nullptr) return false;
  done = parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      target[i] = E::of_key(static_cast<Key>(keys[i] ^ flip));
    }
  });
  if constexpr (E::kIsFloat)
    restore_equals<E>(source, target, count, descending, false);
  return done;
}

// ---------------------------------------------------------------- keys and others

// A key and whose it is: in one number, by which rows are sorted at once, if it fits.
inline uint64_t ranked(uint32_t key, uint32_t index) {
  return uint64_t{key} << 32 | index;
}
inline Ranked ranked(uint64_t key, uint32_t index) { return {key, index}; }
inline uint32_t index_of(uint64_t x) { return static_cast<uint32_t>(x); }
inline uint32_t index_of(const Ranked& x) { return x.index; }

template <typename E>
using RankedKey = std::conditional_t<sizeof(typename E::Key) == 8, Ranked, uint64_t>;

// The order of a row's elements, equal ones as they are; null without memory.
template <typename E>
const RankedKey<E>* order_of(const Parts& parts, const typename E::Native* row,
                             bool descending, Scratch* scratch) {
  using Pair = RankedKey<E>;
  using Wide = std::conditional_t<sizeof(typename E::Key) == 8, uint64_t, uint32_t>;
  const size_t count = parts.count;
  const bool by_digits = count >= least_digits<typename E::Key>(false);
  Pair* order = scratch->of<Pair>(by_digits ? 2 * count : count);
  const auto flip = static_cast<typename E::Key>(descending ? ~uint64_t{0} : 0);
  const bool done = parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const auto key = static_cast<typename E::Key>(E::key(row[i]) ^ flip);
      order[i] = ranked(static_cast<Wide>(key), static_cast<uint32_t>(i));
    }
  });
  if (!done) return nullptr;
  constexpr bool is_packed = std::is_same_v<Pair, uint64_t>;
  if (by_digits) return sort_by_digits(parts, order, order + count, is_packed ? 32 : 0);
  if constexpr (is_packed) {
    sort_by_numpy(NumpyType::kUint64, order, count);
  } else {
    std::sort(order, order + count, [](const Ranked& x, const Ranked& y) {
      return x.key != y.key ? x.key < y.key : x.index < y.index;
    });
  }
  return order;
}

struct Column {
  const char* from;
  char* to;
  size_t size;  // of an element
};

template <typename T, typename Pair>
void gather(const Pair* order, const Column& column, size_t begin, size_t end) {
  const T* from = reinterpret_cast<const T*>(column.from);
  T* to = reinterpret_cast<T*>(column.to);
  for (size_t i = begin; i < end; ++i) to[i] = from[index_of(order[i])];
}

template <typename Pair>
void gather_bytes(const Pair* order, const Column& column, size_t begin, size_t end) {
  if (column.size == 1) return gather<uint8_t>(order, column, begin, end);
  if (column.size == 2) return gather<uint16_t>(order, column, begin, end);
  if (column.size == 4) return gather<uint32_t>(order, column, begin, end);
  return gather<uint64_t>(order, column, begin, end);
}

// ---------------------------------------------------------------- the call

template <typename E>
bool sort_row(const Parts& parts, const std::vector<Column>& columns, size_t row,
              bool descending, Scratch* scratch) {
  using T = typename E::Native;
  const auto at = [&](const Column& column) {
    const size_t offset = row * parts.count * column.size;
    return Column{column.from + offset, column.to + offset, column.size};
  };
  const Column keys = at(columns[0]);
  const auto* source = reinterpret_cast<const T*>(keys.from);
  if (columns.size() == 1) {
    return sort_alone<E>(parts, source, reinterpret_cast<T*>(keys.to), descending,
                         scratch);
  }
  const auto* order = order_of<E>(parts, source, descending, scratch);
  if (order == nullptr) return false;
  return parts.each([&](size_t, size_t begin, size_t end) {
    for (const Column& column : columns) gather_bytes(order, at(column), begin, end);
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
  const Team team(pool, args, words);
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
    const auto sort = [&](auto element) {
      done = for_rows(team, elements / count, count,
                      [&](bool divided, size_t row, Scratch* scratch) {
                        const Parts parts(team, divided, count);
                        return sort_row<decltype(element)>(parts, columns, row,
                                                           descending != 0, scratch);
                      });
    };
    if (!with_element(operands[0].type, sort)) {
      return wrong_call("keys of another type");
    }
  } catch (const std::bad_alloc&) {
    done = false;
  }
  return team.outcome(done);
}

XLA_FFI_DEFINE_HANDLER(kSortCall, sort_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("descending")
                           .RemainingArgs()
                           .RemainingRets());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ORDER_CALLS_H_
