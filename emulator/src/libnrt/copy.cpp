#include "copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "copy_pieces.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace emulator {
namespace {

// From here on a program that runs on the copies is faster when they bypass the caches,
// copying included: its operands push each other out of them anyway.
constexpr std::size_t kLarge = std::size_t{1} << 20;

// One thread does not use all that the memory can give. Below, starting others takes as
// long as they save.
constexpr std::size_t kShared = std::size_t{2} << 20;
constexpr std::size_t kMostHelpers = 3;

// Small pieces, so that a helper that starts late still finds some; but not so small
// that two threads often wait for the kernel to make the same page.
constexpr std::size_t kPieces = 16;
constexpr std::size_t kLeastPiece = std::size_t{256} << 10;
constexpr std::size_t kMostPiece = std::size_t{4} << 20;

bool overlap(const void* one, const void* other, std::size_t size) noexcept {
  const auto a = reinterpret_cast<std::uintptr_t>(one);
  const auto b = reinterpret_cast<std::uintptr_t>(other);
  return (a < b ? b - a : a - b) < size;
}

#if defined(__SSE2__)

constexpr std::size_t kStretch = 128;

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
  const std::size_t ahead = -reinterpret_cast<std::uintptr_t>(destination) % kStretch;
  const std::size_t head = std::min(ahead, size);
  const std::size_t middle = (size - head) / kStretch * kStretch;
  const std::size_t done = head + middle;
  std::memcpy(destination, source, head);
  stream(destination + head, source + head, middle);
  _mm_sfence();
  std::memcpy(destination + done, source + done, size - done);
}

#else

void copy_large(char* destination, const char* source, std::size_t size) noexcept {
  std::memcpy(destination, source, size);
}

#endif

void copy_one(const Copy& copy, std::size_t large) noexcept {
  if (copy.size < large) {
    std::memcpy(copy.destination, copy.source, copy.size);
  } else {
    copy_large(static_cast<char*>(copy.destination),
               static_cast<const char*>(copy.source), copy.size);
  }
}

/// The same copies, in pieces of `size` and what is left. Throws bad_alloc.
std::vector<Copy> cut(const Copy* copies, std::size_t count, std::size_t size) {
  std::vector<Copy> pieces;
  for (const Copy* copy = copies; copy != copies + count; ++copy) {
    auto* const to = static_cast<char*>(copy->destination);
    const auto* const from = static_cast<const char*>(copy->source);
    for (std::size_t at = 0; at < copy->size; at += size) {
      pieces.push_back({to + at, from + at, std::min(size, copy->size - at)});
    }
  }
  return pieces;
}

std::size_t helpers_for(std::size_t pieces) noexcept {
  static const std::size_t threads = std::thread::hardware_concurrency();
  if (threads == 0) return 0;  // unknown
  return std::min({kMostHelpers, threads - 1, pieces - 1});
}

/// By several threads. False, with nothing done, if there is no memory for that.
bool copy_shared(const Copy* copies, std::size_t count, std::size_t total) noexcept {
  try {
    const std::size_t size = std::clamp(total / kPieces, kLeastPiece, kMostPiece);
    const std::vector<Copy> pieces = cut(copies, count, size);
    const auto copy = [&](std::size_t i) { copy_one(pieces[i], kLeastPiece); };
    run_pieces(pieces.size(), helpers_for(pieces.size()), copy);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace

void copy_all(const Copy* copies, std::size_t count) noexcept {
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total += copies[i].size;
  if (total >= kShared && copy_shared(copies, count, total)) return;
  for (std::size_t i = 0; i < count; ++i) copy_one(copies[i], kLarge);
}

void copy_bytes(void* destination, const void* source, std::size_t size) noexcept {
  if (size < kLarge || overlap(destination, source, size)) {
    std::memmove(destination, source, size);
  } else {
    const Copy copy{destination, source, size};
    copy_all(&copy, 1);
  }
}

}  // namespace emulator
