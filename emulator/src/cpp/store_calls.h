// The custom call that stores into an array at places with equal distances, in place.

#ifndef NKIPY_EMULATOR_STORE_CALLS_H_
#define NKIPY_EMULATOR_STORE_CALLS_H_

#include <string.h>

#include <vector>

#include "element_calls.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

constexpr size_t kMostStoredAxes = 32;  // NumPy has no more; each one is a call

// Where elements go along one axis, in bytes, and how many.
struct StoredAxis {
  size_t step, count;
};

// Stores elements of kSize bytes, or of `size` if that is 0, at the places of `axes`
// from the axis `axis` on. `from` advances by `stride`, which is 0 for a single value.
template <size_t kSize>
void store_along(const StoredAxis* axis, const StoredAxis* end, char* to,
                 const char*& from, size_t stride, size_t size) {
  const auto [step, count] = *axis;
  if (axis + 1 != end) {
    for (size_t i = 0; i < count; ++i, to += step) {
      store_along<kSize>(axis + 1, end, to, from, stride, size);
    }
    return;
  }
  const char* next = from;  // nobody else knows where it is: it can stay in a register
  if (kSize != 0 && stride == 0) {
    char value[kSize + 1];  // what is stored cannot lie in it
    memcpy(value, next, kSize);
    for (size_t i = 0; i < count; ++i, to += step) memcpy(to, value, kSize);
    return;
  }
  for (size_t i = 0; i < count; ++i, to += step, next += stride) {
    memcpy(to, next, kSize != 0 ? kSize : size);
  }
  from = next;
}

// The axes of an array of bytes, and where the first element goes; false if there is
// none such, or places are outside. `places`: of each axis its size, then the first
// place, the distance and the number of places.
inline bool find_places(ffi::Span<const int64_t> places, size_t itemsize, size_t nbytes,
                        std::vector<StoredAxis>& axes, size_t& first) {
  if (places.size() == 0 || places.size() % 4 != 0) return false;
  if (places.size() / 4 > kMostStoredAxes) return false;
  size_t bytes = itemsize;
  axes.resize(places.size() / 4);
  first = 0;
  for (size_t axis = axes.size(); axis-- > 0;) {
    const int64_t *numbers = places.begin() + axis * 4, size = numbers[0];
    const int64_t start = numbers[1], step = numbers[2], count = numbers[3];
    if (size <= 0 || start < 0 || step <= 0 || count <= 0 || start >= size ||
        count - 1 > (size - 1 - start) / step) {
      return false;
    }
    axes[axis] = {count > 1 ? static_cast<size_t>(step) * bytes : 0,
                  static_cast<size_t>(count)};
    first += static_cast<size_t>(start) * bytes;
    if (static_cast<size_t>(size) > nbytes / bytes) return false;
    bytes *= static_cast<size_t>(size);
  }
  return bytes == nbytes;
}

// The first operand with the second, one value or one for each place, stored into it.
// The result is to be the first operand's memory; where it is not, that is copied.
inline ffi::Error strided_store_call(ffi::Span<const int64_t> places,
                                     ffi::AnyBuffer array, ffi::AnyBuffer value,
                                     ffi::Result<ffi::AnyBuffer> result) {
  try {
    const size_t itemsize = width_of(array.element_type());
    const size_t nbytes = array.size_bytes();
    std::vector<StoredAxis> axes;
    size_t first, count = 1;
    if (itemsize == 0 || result->size_bytes() != nbytes ||
        result->element_type() != array.element_type() ||
        value.element_type() != array.element_type() ||
        !find_places(places, itemsize, nbytes, axes, first)) {
      return wrong_call("places that are not the array's");
    }
    for (const StoredAxis& axis : axes) count *= axis.count;
    const bool is_one = value.element_count() == 1;
    if (!is_one && value.element_count() != count) {
      return wrong_call("another number of values than of places");
    }
    auto* to = static_cast<char*>(result->untyped_data());
    if (to != array.untyped_data()) memcpy(to, array.untyped_data(), nbytes);
    const auto* from = static_cast<const char*>(value.untyped_data());
    const auto store = itemsize == 1   ? store_along<1>
                       : itemsize == 2 ? store_along<2>
                       : itemsize == 4 ? store_along<4>
                       : itemsize == 8 ? store_along<8>
                                       : store_along<0>;
    store(axes.data(), axes.data() + axes.size(), to + first, from,
          is_one ? 0 : itemsize, itemsize);
    return ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
}

XLA_FFI_DEFINE_HANDLER(kStridedStoreCall, strided_store_call,
                       ffi::Ffi::Bind()
                           .Attr<ffi::Span<const int64_t>>("places")
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_STORE_CALLS_H_
