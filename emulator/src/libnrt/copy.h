// Copying bytes: many of them past the caches, and by several threads.
#pragma once

#include <cstddef>

namespace emulator {

struct Copy {
  void* destination;
  const void* source;
  std::size_t size;
};

/// As memmove. The regions may overlap.
void copy_bytes(void* destination, const void* source, std::size_t size) noexcept;

/// All of them, in any order. No region overlaps another.
void copy_all(const Copy* copies, std::size_t count) noexcept;

}  // namespace emulator
