// Inspection: profiles and system traces written without changes to the program, as
// NEURON_RT_INSPECT_* ask for them.
#pragma once

#include <string>

#include "nrt/nrt_profile.h"
#include "trace_buffer.h"

namespace emulator {
class Session;
}

namespace emulator::inspect {

/// What is to be written, and where.
struct Settings {
  bool enabled = true;
  bool on_failure = false;  // kept, but the emulator writes nothing on failures
  bool system_profile = true;
  bool device_profile = false;
  // Kept: the emulator's profile is one of all that runs, in either mode.
  int device_profile_mode = NRT_INSPECT_DEVICE_PROFILE_MODE_MODEL;
  bool host_memory = false;  // kept: the emulator has nothing to write about these two
  bool cpu_util = false;
  int session_id = 0;
  std::string output_directory = "./output";
  trace::Capture capture;

  /// Reads NEURON_RT_INSPECT_*. Throws StatusError(NRT_INVALID), naming the variable.
  static Settings read();
};

/// All activities that can be switched, by name; null after the last.
extern const char* const kActivities[];

/// The switch of an activity; for "all", nullptr. Throws StatusError(NRT_INVALID) for
/// an unknown name.
bool* activity(Settings& settings, const std::string& name);

/// Starts inspection. Throws StatusError: NRT_INVALID if it is started already,
/// NRT_FAILURE if the directory cannot be written.
void begin(Session& session, const Settings& settings);

/// Ends it and writes the files into `<directory>/<instance>_pid_<pid>/`. Throws
/// StatusError: NRT_INVALID if it is not started, NRT_FAILURE if they cannot be
/// written.
void stop();

/// Starts inspection if NEURON_RT_INSPECT_ENABLE asks for it; nrt_close ends it.
/// nrt_init calls this last. Throws as begin() does.
void begin_if_enabled(Session& session);

}  // namespace emulator::inspect
