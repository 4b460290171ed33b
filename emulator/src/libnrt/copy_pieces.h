// Work that is cut into pieces, for whichever threads have the time.
#pragma once

#include <cstddef>
#include <functional>

namespace emulator {

/// Calls `piece(0)` to `piece(count - 1)`, each once, here and in up to `helpers`
/// threads more. Returns when all are done. A helper that the system is slow to start
/// is not waited for: what it would have done is done here. `piece` must not throw.
void run_pieces(std::size_t count, std::size_t helpers,
                const std::function<void(std::size_t)>& piece) noexcept;

}  // namespace emulator
