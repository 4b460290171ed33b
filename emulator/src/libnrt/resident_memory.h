// How much memory a process really occupies.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace emulator {

/// Bytes of a process's own memory that are resident: without files and without what it
/// shares, such as tensors. Address space that was only reserved does not count. 0 if
/// there is no such process, or it cannot be looked at.
std::size_t resident_bytes(pid_t process);

/// Bytes of memory that this machine has, or the control group of this process.
std::size_t machine_memory();

}  // namespace emulator
