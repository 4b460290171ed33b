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
  // Of a step, which goes on during an event, whose name is the opcode.
  bool is_step = false;
  std::string lane;    // which of several in the engine at once; "" if there is one
  std::string source;  // the line of a kernel
  std::string groups;  // of a collective: the ranks that meet, as JSON text
};

/// Reads lines of tab-separated fields in the order of TimelineEvent, without
/// `is_step`: those of steps without the last, those of collectives without the two
/// before it, the others without all three. Lines that are not so are left out.
std::vector<TimelineEvent> parse_timeline(const std::string& text);

}  // namespace emulator::profile
