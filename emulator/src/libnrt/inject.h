// Failures on request, for tests: NKIPY_EMULATOR_INJECT.
#pragma once

#include "nrt/nrt_status.h"

namespace emulator {

/// The status with which the call of `function` that just began is to fail, or
/// NRT_SUCCESS to go on. Called once at each entry point; cheap when nothing is
/// injected. Never throws.
NRT_STATUS injected(const char* function) noexcept;

}  // namespace emulator
