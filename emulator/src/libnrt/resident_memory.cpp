#include "resident_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

namespace emulator {
namespace {

/// The number that a file of a control group holds; "max", or no file, is no limit.
std::size_t group_limit(const char* path) {
  std::uint64_t limit = 0;
  std::ifstream file(path);
  return file >> limit ? limit : std::numeric_limits<std::size_t>::max();
}

}  // namespace

std::size_t resident_bytes(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string word; file >> word;) {
    if (word != "RssAnon:") continue;
    std::size_t kilobytes = 0;
    file >> kilobytes;
    return kilobytes << 10;
  }
  return 0;
}

std::size_t machine_memory() {
  const auto pages = static_cast<std::size_t>(std::max(sysconf(_SC_PHYS_PAGES), 0L));
  const std::size_t physical = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return std::min({physical, group_limit("/sys/fs/cgroup/memory.max"),
                   group_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes")});
}

}  // namespace emulator
