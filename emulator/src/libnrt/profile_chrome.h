// Profiles as Chrome-trace JSON, which ui.perfetto.dev opens.
#pragma once

#include <string>

#include "profile.h"

namespace emulator::profile {

/// The JSON text of a recording. It begins with a notice that the emulator wrote it and
/// that the cores' times are estimates.
///
/// A process for each core has a lane of executions and one for each engine, in the
/// order in which a program goes through them, all on the modelled clock. What a kernel
/// does is shown below its event, and in lanes of its own where an engine has queues,
/// or several cores are one. A process "host" has the measured calls, a lane for each
/// core. Beyond a million events, runs appear as executions only.
std::string chrome_trace(const Recording& recording);

}  // namespace emulator::profile
