// The custom call that sorts along an axis.

#ifndef NKIPY_EMULATOR_ORDER_CALLS_H_
#define NKIPY_EMULATOR_ORDER_CALLS_H_

#include <string.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "axes.h"
#include "bucket_sort.h"
#include "element_calls.h"
#include "handled_call.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "order_keys.h"
#include "radix_sort.h"
#include "row_parts.h"
#include "split_sort.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Rows of fewer elements are sorted by NumPy, whatever it does that by, others by their
// digits, of which short keys have few; NumPy takes longer for the keys with their
// indices.
template <typename Key>
constexpr size_t least_digits(bool is_alone) {
  return sizeof(Key) <= 2 ? 256 : is_alone ? 2048 : 768;
}

// ---------------------------------------------------------------- keys alone

// Whether NumPy sorts so many numbers at least as fast as it goes by their digits.
template <typename T>
bool is_for_numpy(const Team& team, size_t count) {
  if (count < least_digits<T>(true)) return true;
  if constexpr (sizeof(T) == 1) {
    return false;
  } else {
    return count < least_digits_beside_numpy<T>(team);
  }
}

// Whether it sorts so many elements, or else their keys.
template <typename E>
bool is_row_for_numpy(const Team& team, size_t count, bool descending) {
  if constexpr (is_of_numpy<E>()) {
    if (!descending) return is_for_numpy<typename E::Native>(team, count);
  }
  return is_for_numpy<typename E::Key>(team, count);
}

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
// before, in `source`: zeros of both signs, of which NumPy's sort does not keep how
// many there are of each, and NaN. Who writes to `source` meanwhile may have put more
// of them there.
template <typename E>
void restore_equals(const typename E::Native* source, typename E::Native* row,
                    size_t count, bool descending) {
  using T = typename E::Native;
  using Key = typename E::Key;
  const Key flip = descending ? E::kNan : Key{0};
  const bool has_nan = E::key(row[descending ? 0 : count - 1]) == E::kNan;
  T* nan = has_nan ? first_of<E>(row, count, E::kNan, flip) : nullptr;
  T* zero = first_of<E>(row, count, E::kZero, flip);
  const bool has_zeros = zero != row + count && E::key(*zero) == E::kZero;
  if (!has_nan && !has_zeros) return;
  const T* const end = row + count;
  for (size_t i = 0; i < count; ++i) {
    const Key key = E::key(source[i]);
    if (has_nan && key == E::kNan && nan != end) memcpy(nan++, source + i, sizeof(T));
    if (has_zeros && key == E::kZero && zero != end) *zero++ = source[i];
  }
}

// Sorts keys that lie where the sorted elements are to be, which take their place.
template <typename E>
bool sort_keys(const Parts& parts, typename E::Native* row, typename E::Key flip,
               Scratch* scratch) {
  using Key = typename E::Key;
  auto* keys = reinterpret_cast<Key*>(row);
  const size_t count = parts.count;
  if (parts.parts == 1 && is_for_numpy<Key>(parts.team, count)) {
    if (parts.team.is_over()) return false;
    sort_by_numpy(numpy_type<Key>(), keys, count);
  } else {
    keys = sort_by_digits(parts, keys, scratch->of<Key>(count), 0);
  }
  if (keys == nullptr) return false;
  return parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      row[i] = E::of_key(static_cast<Key>(keys[i] ^ flip));
    }
  });
}

// Longer rows of keys are sorted in buckets: memory for as many again would be much.
constexpr size_t kLongKeys = size_t{1} << 20;

template <typename E>
bool sort_alone(const Parts& parts, const typename E::Native* source,
                typename E::Native* target, bool descending, Scratch* scratch) {
  using T = typename E::Native;
  using Key = typename E::Key;
  const size_t count = parts.count;
  if constexpr (is_of_numpy<E>()) {
    if (!descending && is_for_numpy<T>(parts.team, count)) {
      const auto element = [source](size_t i) { return source[i]; };
      if (!sort_numbers(parts, element, target)) return false;
      if constexpr (E::kIsFloat) restore_equals<E>(source, target, count, false);
      return true;
    }
  }
  auto* keys = reinterpret_cast<Key*>(target);
  const auto flip = static_cast<Key>(descending ? ~Key{0} : Key{0});
  const auto key = [&](size_t i) { return static_cast<Key>(E::key(source[i]) ^ flip); };
  bool done;
  if (is_for_numpy<Key>(parts.team, count)) {
    done = sort_numbers(parts, key, keys) &&
           parts.each([&](size_t, size_t begin, size_t end) {
             for (size_t i = begin; i < end; ++i) {
               target[i] = E::of_key(static_cast<Key>(keys[i] ^ flip));
             }
           });
  } else if (count < kLongKeys) {
    done = parts.each([&](size_t, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) keys[i] = key(i);
    });
    done = done && sort_keys<E>(parts, target, flip, scratch);
  } else {
    std::vector<uint32_t> ends;
    done = put_into_buckets(parts, key, [](Key k, size_t) { return k; }, keys, &ends);
    done =
        done &&
        sort_buckets(parts, ends, [&](const Parts& bucket, size_t begin, Scratch* own) {
          return sort_keys<E>(bucket, target + begin, flip, own);
        });
  }
  if (!done) return false;
  if constexpr (E::kIsFloat) restore_equals<E>(source, target, count, descending);
  return true;
}

// ---------------------------------------------------------------- keys and others

// A key and whose it is: in one number, by which rows are sorted at once, if it fits.
inline uint64_t ranked(uint32_t key, uint32_t index) {
  return uint64_t{key} << 32 | index;
}
inline Ranked ranked(uint64_t key, uint32_t index) { return {key, index}; }
inline uint32_t index_of(uint32_t x) { return x; }
inline uint32_t index_of(uint64_t x) { return static_cast<uint32_t>(x); }
inline uint32_t index_of(const Ranked& x) { return x.index; }

template <typename E>
using RankedKey = std::conditional_t<sizeof(typename E::Key) == 8, Ranked, uint64_t>;

// The elements `element(i)` of a row in order, equal ones as they are; null without
// memory.
template <typename E, typename ElementOf>
const RankedKey<E>* order_of(const Parts& parts, const typename E::Native* row,
                             const ElementOf& element, typename E::Key flip,
                             Scratch* scratch) {
  using Pair = RankedKey<E>;
  using Wide = std::conditional_t<sizeof(typename E::Key) == 8, uint64_t, uint32_t>;
  const size_t count = parts.count;
  const bool by_digits = count >= least_digits<typename E::Key>(false);
  Pair* order = scratch->of<Pair>(by_digits ? 2 * count : count);
  const bool done = parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const uint32_t index = element(i);
      const auto key = static_cast<typename E::Key>(E::key(row[index]) ^ flip);
      order[i] = ranked(static_cast<Wide>(key), index);
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

// The same of a long row, as indices, with little memory beside them.
template <typename E>
bool order_long(const Parts& parts, const typename E::Native* row, typename E::Key flip,
                uint32_t* order) {
  using Key = typename E::Key;
  const auto key = [&](size_t i) { return static_cast<Key>(E::key(row[i]) ^ flip); };
  const auto index = [](Key, size_t i) { return static_cast<uint32_t>(i); };
  std::vector<uint32_t> ends;
  if (!put_into_buckets(parts, key, index, order, &ends)) return false;
  if (ends.size() == 1) return true;
  return sort_buckets(
      parts, ends, [&](const Parts& bucket, size_t first, Scratch* scratch) {
        uint32_t* own = order + first;
        const auto element = [&](size_t i) { return own[i]; };
        const auto* sorted = order_of<E>(bucket, row, element, flip, scratch);
        return sorted != nullptr && bucket.each([&](size_t, size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) own[i] = index_of(sorted[i]);
        });
      });
}

struct Column {
  const char* from;
  char* to;
  size_t size, result_size;  // of an element
};

template <typename T, typename Pair>
void gather(const Pair* order, const Column& column, size_t begin, size_t end) {
  const T* from = reinterpret_cast<const T*>(column.from);
  T* to = reinterpret_cast<T*>(column.to);
  for (size_t i = begin; i < end; ++i) to[i] = from[index_of(order[i])];
}

constexpr bool is_gathered(size_t size) {
  return size == 1 || size == 2 || size == 4 || size == 8;
}

template <typename Pair>
void gather_bytes(const Pair* order, const Column& column, size_t begin, size_t end) {
  if (column.size == 1) return gather<uint8_t>(order, column, begin, end);
  if (column.size == 2) return gather<uint16_t>(order, column, begin, end);
  if (column.size == 4) return gather<uint32_t>(order, column, begin, end);
  return gather<uint64_t>(order, column, begin, end);
}

// ---------------------------------------------------------------- rows

// What a call is to do: the elements of a row lie `inner` elements behind each other.
// If it `ranks`, the result is the order, as S32; else the operands in it.
struct Sorting : Axis {
  bool descending, ranks;
  std::vector<Column> columns;

  // Whether nothing is moved with what is sorted.
  bool is_of_numbers() const { return columns.size() == 1 && !ranks; }

  std::vector<Column> at(size_t offset) const {
    std::vector<Column> moved = columns;
    for (Column& column : moved) {
      column.from += offset * column.size;
      column.to += offset * column.result_size;
    }
    return moved;
  }
};

// A row that lies in one piece.
template <typename E>
bool sort_row(const Parts& parts, const Sorting& sorting,
              const std::vector<Column>& columns, Scratch* scratch) {
  using T = typename E::Native;
  using Key = typename E::Key;
  const auto* source = reinterpret_cast<const T*>(columns[0].from);
  if (sorting.is_of_numbers()) {
    return sort_alone<E>(parts, source, reinterpret_cast<T*>(columns[0].to),
                         sorting.descending, scratch);
  }
  const auto flip = static_cast<Key>(sorting.descending ? ~uint64_t{0} : 0);
  const auto move_all = [&](const auto* order) {
    return order != nullptr && parts.each([&](size_t, size_t begin, size_t end) {
      if (sorting.ranks) {
        auto* to = reinterpret_cast<uint32_t*>(columns[0].to);
        for (size_t i = begin; i < end; ++i) to[i] = index_of(order[i]);
        return;
      }
      for (const Column& column : columns) gather_bytes(order, column, begin, end);
    });
  };
  if (parts.count < kLongRow) {
    const auto element = [](size_t i) { return static_cast<uint32_t>(i); };
    return move_all(order_of<E>(parts, source, element, flip, scratch));
  }
  if (sorting.ranks) {
    return order_long<E>(parts, source, flip,
                         reinterpret_cast<uint32_t*>(columns[0].to));
  }
  auto* order = scratch->of<uint32_t>(parts.count);
  return order_long<E>(parts, source, flip, order) &&
         move_all(static_cast<const uint32_t*>(order));
}

// `to[i * to_step + j * to_width]`, an element, of the same in `from`.
template <typename T>
void copy_turned(const char* from, size_t from_step, size_t from_width, char* to,
                 size_t to_step, size_t to_width, size_t count, size_t width) {
  const T* x = reinterpret_cast<const T*>(from);
  T* y = reinterpret_cast<T*>(to);
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < width; ++j) {
      y[i * to_step + j * to_width] = x[i * from_step + j * from_width];
    }
  }
}

inline auto copy_turned_by_size(size_t size) {
  return size == 1   ? copy_turned<uint8_t>
         : size == 2 ? copy_turned<uint16_t>
         : size == 4 ? copy_turned<uint32_t>
                     : copy_turned<uint64_t>;
}

// So many rows beside each other, in copies that lie in one piece each.
template <typename E>
bool sort_beside(const Parts& parts, const Sorting& sorting, size_t offset,
                 size_t width, Scratch* scratch, Scratch* copies) {
  const size_t count = parts.count, inner = sorting.inner;
  size_t nbytes = 0;
  for (const Column& c : sorting.columns) {
    nbytes += (c.size + c.result_size) * count * width + 2 * sizeof(uint64_t);
  }
  char* next = copies->of<char>(nbytes);
  const auto take = [&](size_t size) {  // aligned for whatever elements
    const size_t taken = (size * count * width + 7) / 8 * 8;
    return std::exchange(next, next + taken);
  };
  const std::vector<Column> given = sorting.at(offset);
  std::vector<Column> own = given;
  for (size_t i = 0; i < own.size(); ++i) {
    char* copy = take(own[i].size);
    own[i].from = copy;
    own[i].to = take(own[i].result_size);
    const bool done = parts.each([&](size_t, size_t begin, size_t end) {
      const size_t size = given[i].size;
      copy_turned_by_size(size)(given[i].from + begin * inner * size, inner, 1,
                                copy + begin * size, 1, count, end - begin, width);
    });
    if (!done) return false;
  }
  for (size_t row = 0; row < width; ++row) {
    std::vector<Column> columns = own;
    for (Column& c : columns) {
      c.from += row * count * c.size;
      c.to += row * count * c.result_size;
    }
    if (!sort_row<E>(parts, sorting, columns, scratch)) return false;
  }
  return parts.each([&](size_t, size_t begin, size_t end) {
    for (size_t i = 0; i < own.size(); ++i) {
      const size_t size = given[i].result_size;
      copy_turned_by_size(size)(own[i].to + begin * size, 1, count,
                                given[i].to + begin * inner * size, inner, 1,
                                end - begin, width);
    }
  });
}

// Bytes that rows beside each other are read in, and that copies of them may take.
constexpr size_t kLine = 64, kMostBeside = size_t{1} << 20;

template <typename E>
bool sort_rows(const Team& team, const Sorting& sorting) {
  const size_t count = sorting.count, inner = sorting.inner;
  const size_t rows = sorting.outer * inner;
  if (inner == 1) {
    constexpr size_t kLong = kLongSplitRow<typename E::Key>;
    const bool is_split = sorting.is_of_numbers() && count >= kLong &&
                          is_row_for_numpy<E>(team, count, sorting.descending);
    return for_rows(
        team, rows, count,
        [&](bool divided, size_t row, Scratch* scratch) {
          const Parts parts(team, divided, count);
          return sort_row<E>(parts, sorting, sorting.at(row * count), scratch);
        },
        is_split ? kLong : kLongRow);
  }
  const size_t size = sizeof(typename E::Native);
  const auto offset_of = [&](size_t row) {
    return row / inner * inner * count + row % inner;
  };
  if (rows < team.threads() && count >= kLongRow) {
    const NumpyEnvironment environment;
    const Parts parts(team, true, count);
    Scratch scratch, copies;
    for (size_t row = 0; row < rows; ++row) {
      const size_t offset = offset_of(row);
      if (!sort_beside<E>(parts, sorting, offset, 1, &scratch, &copies)) return false;
    }
    return true;
  }
  size_t width = std::min(kLine / size, inner);
  const auto is_wide = [&] {
    return width * count * size > kMostBeside ||
           rows / width < kManyPieces * team.threads();
  };
  while (width > 1 && is_wide()) width /= 2;
  const size_t across = (inner + width - 1) / width;
  return share_work(team, sorting.outer * across, [&](size_t piece) {
    const Parts parts(team, false, count);
    Scratch scratch, copies;
    const size_t first = piece % across * width;
    const size_t offset = offset_of(piece / across * inner + first);
    if (!sort_beside<E>(parts, sorting, offset, std::min(width, inner - first),
                        &scratch, &copies)) {
      throw std::bad_alloc();
    }
  });
}

// ---------------------------------------------------------------- the call

// The operands in the order of the first one along an axis, stable; if it `ranks`, the
// order alone. `axes`: how many elements there are before, along and behind the axis.
inline ffi::Error sort_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            ffi::Span<const int64_t> axes, int64_t descending,
                            int64_t ranks, ffi::RemainingArgs args,
                            ffi::RemainingRets results) {
  if (results.size() == 0) return wrong_call("no operands");
  const size_t elements = (**results.get<ffi::AnyBuffer>(0)).element_count();
  if (elements == 0) return ffi::Error::Success();
  const Team team(pool, args, words);
  bool done = false;
  try {
    Axis axis;
    if (!read_axes(axes, elements, &axis)) return wrong_axes();
    if (axis.count > UINT32_MAX) return wrong_call("a row that is too long");
    Sorting sorting{axis, descending != 0, ranks != 0, {}};
    std::vector<Operand> operands(results.size());
    if (!locate(args, words, operands.size(), operands.data())) return wrong_operands();
    for (size_t i = 0; i < operands.size(); ++i) {
      ffi::AnyBuffer to = **results.get<ffi::AnyBuffer>(i);
      const Operand& from = operands[i];
      const auto type = sorting.ranks ? ffi::DataType::S32 : from.type;
      if (!is_gathered(from.itemsize())) {
        return wrong_call("elements of another size");
      }
      if (from.count != elements || to.element_count() != elements ||
          to.element_type() != type || (sorting.ranks && operands.size() != 1)) {
        return wrong_call("shapes that differ");
      }
      sorting.columns.push_back({from.data, static_cast<char*>(to.untyped_data()),
                                 from.itemsize(), width_of(type)});
    }
    const auto sort = [&](auto element) {
      done = sort_rows<decltype(element)>(team, sorting);
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
                           .Attr<ffi::Span<const int64_t>>("axes")
                           .Attr<int64_t>("descending")
                           .Attr<int64_t>("ranks")
                           .RemainingArgs()
                           .RemainingRets());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ORDER_CALLS_H_
