// The log: NEURON_RT_LOG_LEVEL, NEURON_RT_LOG_LOCATION, and both per component.
//
// A line reads `YYYY-Mon-DD HH:MM:SS.uuuuuu PID:TID LEVEL COMPONENT:function message`.
#pragma once

namespace emulator::log {

enum class Level { quiet = 0, error, warning, info, debug, trace };

enum class Component { nrt = 0, nmgr, tdrv };

/// Reads the environment again. nrt_init calls it.
void configure() noexcept;

/// Writes a line for each of those variables that cannot be obeyed.
void report_mistakes() noexcept;

/// Whether a line of this level would go anywhere: look before composing a costly one.
bool enabled(Component component, Level level) noexcept;

/// Writes one line in one piece. Formats as printf does; never throws.
void write(Component component, Level level, const char* function, const char* format,
           ...) noexcept __attribute__((format(printf, 4, 5)));

}  // namespace emulator::log

/// `LOG(nrt, error, "nrt_init", "no core %d", core)`: arguments are evaluated only when
/// the line is wanted.
#define EMULATOR_LOG(component, level, function, ...)                               \
  do {                                                                              \
    if (::emulator::log::enabled(::emulator::log::Component::component,             \
                                 ::emulator::log::Level::level)) {                  \
      ::emulator::log::write(::emulator::log::Component::component,                 \
                             ::emulator::log::Level::level, function, __VA_ARGS__); \
    }                                                                               \
  } while (false)
