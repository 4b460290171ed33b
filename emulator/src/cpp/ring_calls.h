// The custom call that makes an array longer at both ends, by what is at the other.

#ifndef NKIPY_EMULATOR_RING_CALLS_H_
#define NKIPY_EMULATOR_RING_CALLS_H_

#include <string.h>

#include "element_calls.h"
#include "operands.h"
#include "work_sharing.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Rows of bytes, before each of which come the last bytes of it, and the first behind.
struct Ring {
  size_t row, before, after;

  size_t result_row() const { return before + row + after; }
};

constexpr size_t kRingPiece = size_t{1} << 17;  // bytes that are copied at once

// Writes the bytes of the result from `begin` to `end`.
inline void copy_ring(const Ring& ring, const char* from, char* to, size_t begin,
                      size_t end) {
  const size_t length = ring.result_row();
  while (begin < end) {
    const char* row = from + begin / length * ring.row;
    const size_t at = begin % length;
    size_t source = at + ring.row - ring.before, stop = ring.before;
    if (at >= ring.before) source = at - ring.before, stop = ring.before + ring.row;
    if (at >= ring.before + ring.row) source -= ring.row, stop = length;
    const size_t size = std::min(stop - at, end - begin);
    memcpy(to + begin, row + source, size);
    begin += size;
  }
}

// `sizes`: rows, then of each row how many elements it has, and how many of the last
// and of the first ones are repeated.
inline ffi::Error ring_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            ffi::Span<const int64_t> sizes, ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  Operand x;
  if (!locate(args, words, 1, &x)) return wrong_operands();
  if (sizes.size() != 4) return wrong_call("not four sizes");
  const auto size = [&](size_t i) { return static_cast<size_t>(sizes[i]); };
  const size_t rows = size(0), count = size(1), before = size(2), after = size(3);
  if (before > count || after > count || x.count != rows * count ||
      result->element_type() != x.type ||
      result->element_count() != rows * (before + count + after)) {
    return wrong_call("sizes that are not the operand's");
  }
  const size_t bytes = x.itemsize(), total = result->size_bytes();
  if (total == 0) return ffi::Error::Success();
  const Ring ring{count * bytes, before * bytes, after * bytes};
  auto* to = static_cast<char*>(result->untyped_data());
  const size_t pieces = (total + kRingPiece - 1) / kRingPiece;
  const bool done = share_work(pool, pieces, [&](size_t piece) {
    const size_t begin = piece * kRingPiece;
    copy_ring(ring, x.data, to, begin, std::min(begin + kRingPiece, total));
  });
  return done ? ffi::Error::Success() : no_memory();
}

XLA_FFI_DEFINE_HANDLER(kRingCall, ring_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("sizes")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_RING_CALLS_H_
