#include "handle_table.h"

namespace emulator {

std::uint64_t next_handle_number() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1);
}

}  // namespace emulator
