#include "env.h"

#include <strings.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "instances.h"
#include "log.h"
#include "status.h"

namespace emulator {
namespace {

constexpr std::uint64_t kMostCores = 4096;

[[noreturn]] void fail(const std::string& variable, const std::string& text,
                       const std::string& expected) {
  throw StatusError(NRT_INVALID,
                    variable + " should be " + expected + " but is \"" + text + "\"");
}

/// Reads digits from `position` on, and moves past them. False without any, or if the
/// number is too large to be a core.
bool read_number(const std::string& text, std::size_t* position, std::uint64_t* value) {
  const std::size_t start = *position;
  *value = 0;
  while (*position < text.size() && text[*position] >= '0' && text[*position] <= '9') {
    *value = *value * 10 + static_cast<std::uint64_t>(text[*position] - '0');
    if (*value > kMostCores) return false;
    ++*position;
  }
  return *position > start;
}

/// Reads "a" or "a-b" at `position`.
bool read_item(const std::string& text, std::size_t* position, std::uint64_t* first,
               std::uint64_t* last) {
  if (!read_number(text, position, first)) return false;
  *last = *first;
  if (*position >= text.size() || text[*position] != '-') return true;
  ++*position;
  return read_number(text, position, last);
}

std::string without_spaces(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' && c != '\t') result += c;
  }
  return result;
}

std::optional<bool> parse_flag(const std::string& text) {
  for (const char* yes : {"1", "true", "yes", "on"}) {
    if (strcasecmp(text.c_str(), yes) == 0) return true;
  }
  for (const char* no : {"0", "false", "no", "off"}) {
    if (strcasecmp(text.c_str(), no) == 0) return false;
  }
  return std::nullopt;
}

EngineChoice read_engine_choice() {
  constexpr const char* kVariable = "NKIPY_EMULATOR_ENGINE";
  const auto text = env_text(kVariable);
  if (!text || *text == "auto") return EngineChoice::automatic;
  if (*text == "inprocess") return EngineChoice::in_process;
  if (*text == "child") return EngineChoice::child;
  fail(kVariable, *text, "auto, inprocess or child");
}

/// Two documented names, the first of which wins.
std::optional<std::uint32_t> read_logical_core_size() {
  for (const char* name : {"NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"}) {
    if (const auto size = env_number(name, 1, 2)) {
      return static_cast<std::uint32_t>(*size);
    }
  }
  return std::nullopt;
}

std::optional<CoreRange> read_visible_cores() {
  const auto text = env_text("NEURON_RT_VISIBLE_CORES");
  if (!text) return std::nullopt;
  return parse_core_range(*text);
}

bool read_fail_on_nan() {
  const auto verbosity = env_text("NEURON_RT_NUMERICAL_ERRORS_VERBOSITY");
  const bool critical = verbosity && strcasecmp(verbosity->c_str(), "critical") == 0;
  return env_flag("NEURON_FAIL_ON_NAN", false) || critical;
}

std::string default_lock_directory() {
  return "/tmp/nkipy-emulator-" + std::to_string(getuid());
}

void warn_of_removed_variables() {
  if (env_text("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS")) {
    EMULATOR_LOG(nrt, warning, "nrt_init",
                 "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS is ignored: implicit "
                 "asynchronous execution was removed; use the nrta_ functions");
  }
}

}  // namespace

std::optional<std::string> env_text(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return std::string(value);
}

std::optional<std::uint64_t> env_number(const char* name, std::uint64_t low,
                                        std::uint64_t high) {
  const auto text = env_text(name);
  if (!text) return std::nullopt;
  const std::string expected =
      "a number from " + std::to_string(low) + " to " + std::to_string(high);
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t value = 0;
  for (const char c : *text) {
    if (c < '0' || c > '9') fail(name, *text, expected);
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (kLargest - digit) / 10) fail(name, *text, expected);
    value = value * 10 + digit;
  }
  if (value < low || value > high) fail(name, *text, expected);
  return value;
}

bool env_flag(const char* name, bool fallback) {
  const auto text = env_text(name);
  if (!text) return fallback;
  const auto value = parse_flag(*text);
  if (!value) fail(name, *text, "0 or 1");
  return *value;
}

CoreRange parse_core_range(const std::string& original) {
  constexpr const char* kVariable = "NEURON_RT_VISIBLE_CORES";
  constexpr const char* kExpected =
      "increasing cores without gaps, such as 3, 0-3 or 3-5,6,";
  const std::string text = without_spaces(original);
  CoreRange range;
  std::size_t position = 0;
  do {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    if (!read_item(text, &position, &first, &last))
      fail(kVariable, original, kExpected);
    if (range.count == 0) range.first = static_cast<std::uint32_t>(first);
    const bool follows = first == range.first + range.count;
    if (last < first || !follows) fail(kVariable, original, kExpected);
    range.count += static_cast<std::uint32_t>(last - first + 1);
    if (position == text.size()) return range;
  } while (text[position++] == ',');
  fail(kVariable, original, kExpected);
}

Environment Environment::read() {
  Environment result;
  result.instance = env_text("NKIPY_EMULATOR_INSTANCE").value_or(kDefaultInstance);
  result.visible_cores = read_visible_cores();
  result.number_of_cores = static_cast<std::uint32_t>(
      env_number("NEURON_RT_NUM_CORES", 0, kMostCores).value_or(0));
  result.logical_core_size = read_logical_core_size();
  result.hbm_bytes = env_number("NKIPY_EMULATOR_HBM_BYTES", 0, std::uint64_t{1} << 46);
  result.engine = read_engine_choice();
  result.child_memory =
      env_number("NKIPY_EMULATOR_CHILD_MEMORY_BYTES", 0, std::uint64_t{1} << 46);
  result.python = env_text("NKIPY_EMULATOR_PYTHON").value_or("");
  result.lock_directory =
      env_text("NKIPY_EMULATOR_LOCK_DIR").value_or(default_lock_directory());
  result.root_comm_id = env_text("NEURON_RT_ROOT_COMM_ID").value_or("");
  if (const auto timeout = env_number("NEURON_RT_EXEC_TIMEOUT", 1, 1'000'000)) {
    result.execution_timeout = std::chrono::seconds(*timeout);
  }
  result.fail_on_nan = read_fail_on_nan();
  result.validate_hash = env_flag("NEURON_RT_VALIDATE_HASH", false);
  result.allow_legacy_neff = env_flag("NEURON_RT_ALLOW_LEGACY_NEFF", false);
  warn_of_removed_variables();
  return result;
}

}  // namespace emulator
