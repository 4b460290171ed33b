#include "profile_timeline.h"

#include <cstdlib>

namespace emulator::profile {
namespace {

constexpr std::size_t kFields = 7, kFieldsOfCollective = 8, kFieldsOfStep = 9;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    std::size_t end = text.find(separator, begin);
    if (end == std::string::npos) end = text.size();
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::uint64_t number(const std::string& text) {
  return std::strtoull(text.c_str(), nullptr, 10);
}

}  // namespace

std::vector<TimelineEvent> parse_timeline(const std::string& text) {
  std::vector<TimelineEvent> events;
  for (const std::string& line : split(text, '\n')) {
    const std::vector<std::string> field = split(line, '\t');
    const bool is_step = field.size() == kFieldsOfStep;
    const bool is_collective = field.size() == kFieldsOfCollective;
    if (field.size() != kFields && !is_step && !is_collective) continue;
    events.push_back({field[0], field[1], field[2], number(field[3]), number(field[4]),
                      number(field[5]), number(field[6]), is_step,
                      is_step ? field[7] : "", is_step ? field[8] : "",
                      is_collective ? field[7] : ""});
  }
  return events;
}

}  // namespace emulator::profile
