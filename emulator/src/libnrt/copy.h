// Copying bytes, large ones without a slow path of the C library's.
#pragma once

#include <cstddef>

namespace emulator {

/// As memmove. The regions may overlap.
void copy_bytes(void* destination, const void* source, std::size_t size) noexcept;

}  // namespace emulator
