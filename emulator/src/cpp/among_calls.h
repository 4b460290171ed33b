// The custom call that says which elements are among others: by a table of all values
// between the least and the largest of those, or by a hash table.

#ifndef NKIPY_EMULATOR_AMONG_CALLS_H_
#define NKIPY_EMULATOR_AMONG_CALLS_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "plain_calls.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Bytes of a table of all values, by how many elements there are in all, and at least.
constexpr uint64_t kTableOfElement = 4, kLeastTable = 1 << 16;

// The bits of a value; equal ones have the same, zeros of both signs too. No numbers
// are computed with: where this runs, subnormal ones may count as zero.
template <typename Key, typename T>
Key key_of(T value) {
  Key key;
  memcpy(&key, &value, sizeof key);
  if constexpr (std::is_floating_point_v<T>) key = key << 1 == 0 ? 0 : key;
  return key;
}

// Keys, of which most of what is looked up lies where its hash says.
template <typename Key>
class KeySet {
 public:
  // For so many, of which it has one in four places at the most.
  explicit KeySet(size_t count) {
    while ((size_t{1} << (64 - shift_)) < 4 * count) --shift_;
    places_.assign(size_t{1} << (64 - shift_), Key{0});
    last_ = places_.size() - 1;
  }

  void add(Key key) {
    if (key == 0) has_zero_ = true;
    size_t place = first_place(key);
    while (places_[place] != 0 && places_[place] != key) place = (place + 1) & last_;
    places_[place] = key;
  }

  bool has(Key key) const {
    if (key == 0) return has_zero_;
    size_t place = first_place(key);
    while (places_[place] != 0 && places_[place] != key) place = (place + 1) & last_;
    return places_[place] != 0;
  }

 private:
  size_t first_place(Key key) const {
    constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
    return static_cast<size_t>((uint64_t{key} * kGolden) >> shift_);
  }

  std::vector<Key> places_;  // 0 is none
  size_t last_ = 0;
  int shift_ = 58;
  bool has_zero_ = false;
};

template <typename T>
ffi::Error find_among_keys(const Team& team, const Operand& x, const Operand& tests,
                           uint8_t* to) {
  using Key = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  KeySet<Key> set(tests.count);
  for (size_t i = 0; i < tests.count; ++i) {
    const T value = tests.as<T>()[i];
    if (value == value) set.add(key_of<Key>(value));  // NaN equals nothing
  }
  const T* from = x.as<T>();
  return for_elements(team, x.count, [&set, from, to](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      to[i] = static_cast<uint8_t>(set.has(key_of<Key>(from[i])));
    }
  });
}

template <typename T>
ffi::Error find_among_integers(const Team& team, const Operand& x, const Operand& tests,
                               uint8_t* to) {
  const T *first = tests.as<T>(), *end_of_tests = first + tests.count;
  T low = *first, high = low;  // values, as others may write there meanwhile
  for (const T* test = first; test != end_of_tests; ++test) {
    const T value = *test;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const auto least = static_cast<uint64_t>(low);
  const uint64_t reach = static_cast<uint64_t>(high) - least;
  const uint64_t most = kTableOfElement * (x.count + tests.count) + kLeastTable;
  if constexpr (sizeof(T) >= 4) {
    if (reach >= most) return find_among_keys<T>(team, x, tests, to);
  }
  std::vector<uint8_t> table(reach + 2, 0);  // the last one is for all that is outside
  for (const T* test = first; test != end_of_tests; ++test) {
    const uint64_t place = static_cast<uint64_t>(*test) - least;
    if (place <= reach) table[place] = 1;
  }
  const T* from = x.as<T>();
  const uint8_t* known = table.data();
  return for_elements(team, x.count, [=](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      to[i] = known[std::min(static_cast<uint64_t>(from[i]) - least, reach + 1)];
    }
  });
}

// Of each element of the first operand whether it equals one of the second.
inline ffi::Error among_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                             int64_t elements, ffi::RemainingArgs args,
                             ffi::Result<ffi::AnyBuffer> result) {
  Operand given[2];
  if (!locate(args, words, 2, given)) return wrong_operands();
  const auto& [x, tests] = given;
  if (x.type != tests.type || x.count == 0 || tests.count == 0 ||
      x.count != static_cast<size_t>(elements) || result->element_count() != x.count ||
      result->element_type() != ffi::DataType::PRED) {
    return wrong_call("shapes that differ");
  }
  const Team team(pool, args, words);
  ffi::Error outcome = wrong_call("a type that is not known");
  auto* to = static_cast<uint8_t*>(result->untyped_data());
  try {
    with_number_type(x.type, [&](auto value) {
      using T = decltype(value);
      if constexpr (std::is_integral_v<T>) {
        outcome = find_among_integers<T>(team, given[0], given[1], to);
      } else {
        outcome = find_among_keys<T>(team, given[0], given[1], to);
      }
    });
    return outcome;
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kAmongCall, among_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("elements")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_AMONG_CALLS_H_
