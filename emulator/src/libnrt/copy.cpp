#include "copy.h"

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace emulator {

#if defined(__SSE2__)

namespace {

// From here on a program that runs on the copies is faster when they bypass the caches,
// copying included: its operands push each other out of them anyway.
constexpr std::size_t kLarge = std::size_t{1} << 20;
constexpr std::size_t kStretch = 128;

bool overlap(const void* one, const void* other, std::size_t size) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(one);
  const auto b = reinterpret_cast<std::uintptr_t>(other);
  return (a < b ? b - a : a - b) < size;
}

/// `destination` is aligned, and `size` a multiple of kStretch.
void stream(char* destination, const char* source, std::size_t size) noexcept {
  constexpr std::size_t kCount = kStretch / sizeof(__m128i);
  for (const char* end = source + size; source < end;
       source += kStretch, destination += kStretch) {
    const auto* from = reinterpret_cast<const __m128i*>(source);
    auto* to = reinterpret_cast<__m128i*>(destination);
    __m128i values[kCount];
    for (std::size_t i = 0; i < kCount; ++i) values[i] = _mm_loadu_si128(from + i);
    for (std::size_t i = 0; i < kCount; ++i) _mm_stream_si128(to + i, values[i]);
  }
}

/// Past the caches. memcpy falls to a quarter of its rate on some processors when the
/// destination is a little ahead of the source modulo 4096, as it is between arrays of
/// NumPy and page-aligned tensors: each load then seems to need the last store. Loading
/// a stretch as a whole before storing it leaves few such pairs.
void copy_large(char* destination, const char* source, std::size_t size) noexcept {
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(destination) % kStretch;
  const std::size_t middle = (size - head) / kStretch * kStretch;
  const std::size_t done = head + middle;
  std::memcpy(destination, source, head);
  stream(destination + head, source + head, middle);
  _mm_sfence();
  std::memcpy(destination + done, source + done, size - done);
}

}  // namespace

void copy_bytes(void* destination, const void* source, std::size_t size) noexcept {
  if (size < kLarge || overlap(destination, source, size)) {
    std::memmove(destination, source, size);
  } else {
    copy_large(static_cast<char*>(destination), static_cast<const char*>(source), size);
  }
}

#else

void copy_bytes(void* destination, const void* source, std::size_t size) noexcept {
  std::memmove(destination, source, size);
}

#endif

}  // namespace emulator
