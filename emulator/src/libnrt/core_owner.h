// Who holds a core: what its lock file says, for messages.
#pragma once

#include <string>

namespace emulator {

/// Writes into a lock file, which this process holds, who that is.
void write_owner(int descriptor) noexcept;

/// The process that a lock file, which another one holds, says it is: its number, and
/// as far as it can be found out, its user and its command.
std::string describe_owner(int descriptor);

}  // namespace emulator
