#include "copy.h"

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace emulator {

#if defined(__SSE2__)

namespace {

// Well beyond what caches hold: what is copied would not stay in them anyway.
constexpr std::size_t kLarge = std::size_t{16} << 20;
constexpr std::size_t kLine = 64;

bool overlap(const void* one, const void* other, std::size_t size) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(one);
  const auto b = reinterpret_cast<std::uintptr_t>(other);
  return (a < b ? b - a : a - b) < size;
}

void copy_line(char* destination, const char* source) noexcept {
  for (std::size_t at = 0; at < kLine; at += sizeof(__m128i)) {
    const auto* from = reinterpret_cast<const __m128i*>(source + at);
    _mm_stream_si128(reinterpret_cast<__m128i*>(destination + at),
                     _mm_loadu_si128(from));
  }
}

/// Past the caches. memcpy falls to a quarter of its rate on some processors when the
/// addresses differ by a little modulo 4096, which is what arrays of NumPy and
/// page-aligned tensors do.
void copy_large(char* destination, const char* source, std::size_t size) noexcept {
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(destination) % kLine;
  const std::size_t lines = (size - head) / kLine * kLine;
  std::memcpy(destination, source, head);
  for (std::size_t at = head; at < head + lines; at += kLine) {
    copy_line(destination + at, source + at);
  }
  _mm_sfence();
  const std::size_t done = head + lines;
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
