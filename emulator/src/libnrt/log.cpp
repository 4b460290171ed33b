#include "log.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>

namespace emulator::log {
namespace {

constexpr int kComponents = 3;
constexpr const char* kComponentNames[kComponents] = {"NRT", "NMGR", "TDRV"};
constexpr const char* kLevelNames[] = {"QUIET", "ERROR", "WARN",
                                       "INFO",  "DEBUG", "TRACE"};
constexpr const char* kLevel = "NEURON_RT_LOG_LEVEL";
constexpr const char* kLocation = "NEURON_RT_LOG_LOCATION";
constexpr int kToSyslog = -2;
constexpr std::size_t kLongestLine = 2048;

// Atomics only: lines are written from any thread, and in children of fork.
struct Target {
  std::atomic<Level> level{Level::error};
  std::atomic<int> descriptor{STDERR_FILENO};
};

Target targets[kComponents];
std::atomic<bool> configured{false};

const char* variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value && *value ? value : nullptr;
}

/// A variable of the component, else the one for all.
const char* setting(const char* name, const char* component) {
  const char* own = variable(std::string(name) + "_" + component);
  return own ? own : variable(name);
}

std::optional<Level> parse_level(const char* text) {
  if (strcasecmp(text, "WARNING") == 0) return Level::warning;
  for (int level = 0; level <= static_cast<int>(Level::trace); ++level) {
    if (strcasecmp(text, kLevelNames[level]) == 0) return static_cast<Level>(level);
  }
  return std::nullopt;
}

/// A descriptor for the location: stderr, syslog, or a file that is appended to. -1
/// and errno if that cannot be.
int open_location(const char* text) {
  if (!text || strcasecmp(text, "console") == 0) return STDERR_FILENO;
  if (strcasecmp(text, "syslog") == 0) return kToSyslog;
  return open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

void configure_component(int index) {
  Target& target = targets[index];
  const char* name = kComponentNames[index];
  const char* level = setting(kLevel, name);
  target.level = level ? parse_level(level).value_or(Level::error) : Level::error;
  const int opened = open_location(setting(kLocation, name));
  const int location = opened == -1 ? STDERR_FILENO : opened;
  const int before = target.descriptor.load();
  if (before > STDERR_FILENO && location > STDERR_FILENO) {
    // In place, since another thread may be about to write to the descriptor.
    dup3(location, before, O_CLOEXEC);
    close(location);
  } else {
    target.descriptor = location;
  }
}

void ensure_configured() {
  if (!configured.load()) configure();
}

int to_syslog_priority(Level level) {
  switch (level) {
    case Level::error:
      return LOG_ERR;
    case Level::warning:
      return LOG_WARNING;
    case Level::info:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

/// Everything before the message. Returns its length.
std::size_t compose_prefix(char* line, std::size_t capacity, Component component,
                           Level level, const char* function) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm calendar{};
  localtime_r(&now.tv_sec, &calendar);
  char date[40];
  std::strftime(date, sizeof date, "%Y-%b-%d %H:%M:%S", &calendar);
  const std::string source =
      std::string(kComponentNames[static_cast<int>(component)]) + ":" + function;
  const int length = std::snprintf(
      line, capacity, "%s.%06ld %d:%ld %-7s %-40s ", date, now.tv_nsec / 1000,
      static_cast<int>(getpid()), static_cast<long>(syscall(SYS_gettid)),
      kLevelNames[static_cast<int>(level)], source.c_str());
  return length < 0 ? 0 : static_cast<std::size_t>(length);
}

void emit(int descriptor, Level level, char* line, std::size_t length) {
  if (descriptor == kToSyslog) {
    syslog(to_syslog_priority(level), "%.*s", static_cast<int>(length), line);
    return;
  }
  line[length++] = '\n';
  // One write, so that lines of threads and processes do not mix.
  [[maybe_unused]] const ssize_t written = ::write(descriptor, line, length);
}

void report_level(const std::string& name) {
  const char* level = variable(name);
  if (!level || parse_level(level)) return;
  EMULATOR_LOG(nrt, error, "nrt_init",
               "%s should be QUIET, ERROR, WARN, INFO, DEBUG or TRACE but is \"%s\", "
               "which is taken for ERROR",
               name.c_str(), level);
}

void report_location(const std::string& name) {
  const int location = open_location(variable(name));
  if (location == -1) {
    EMULATOR_LOG(nrt, error, "nrt_init", "%s: %s: %s; the log goes to the console",
                 name.c_str(), variable(name), std::strerror(errno));
  } else if (location > STDERR_FILENO) {
    close(location);
  }
}

}  // namespace

void report_mistakes() noexcept {
  try {
    for (const char* suffix : {"", "_NRT", "_NMGR", "_TDRV"}) {
      report_level(std::string(kLevel) + suffix);
      report_location(std::string(kLocation) + suffix);
    }
  } catch (...) {  // no memory for the names
  }
}

void configure() noexcept {
  configured = true;
  try {
    for (int index = 0; index < kComponents; ++index) configure_component(index);
  } catch (...) {  // no memory: the settings stay as they are
  }
}

bool enabled(Component component, Level level) noexcept {
  ensure_configured();
  return level <= targets[static_cast<int>(component)].level.load();
}

void write(Component component, Level level, const char* function, const char* format,
           ...) noexcept {
  char line[kLongestLine];
  try {
    const std::size_t room = sizeof line - 1;  // for the newline
    std::size_t length = compose_prefix(line, room, component, level, function);
    va_list arguments;
    va_start(arguments, format);
    const int added = std::vsnprintf(line + length, room - length, format, arguments);
    va_end(arguments);
    if (added > 0) length += static_cast<std::size_t>(added);
    if (length >= room) length = room - 1;  // cut
    emit(targets[static_cast<int>(component)].descriptor.load(), level, line, length);
  } catch (...) {  // no memory for the line: there is nobody to tell
  }
}

}  // namespace emulator::log
