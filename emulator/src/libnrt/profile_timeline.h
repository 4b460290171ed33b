// The cost model's timeline of a program, as its text has it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace emulator::profile {

/// An engine at work, estimated.
struct TimelineEvent {
  std::string engine;
  std::string name;
  std::string opcode;
  std::uint64_t start_ns = 0;  // since the run began
  std::uint64_t duration_ns = 0;
  std::uint64_t bytes = 0;
  std::uint64_t flops = 0;
};

/// Reads lines of tab-separated fields in the order of TimelineEvent. Lines that are
/// not so are left out.
std::vector<TimelineEvent> parse_timeline(const std::string& text);

}  // namespace emulator::profile
