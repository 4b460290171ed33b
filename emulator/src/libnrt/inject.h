// Failures on request, for tests: NKIPY_EMULATOR_INJECT.
//
//   rules    = rule { (";" | ",") rule }
//   rule     = function [".completion"] "=" status [ "@" when ]
//   status   = a number of nrt_status.h, or its name: 1201, NRT_EXEC_HW_ERR_HBM_UE
//   when     = N      the N-th call only
//            | N "+"  the N-th call and all later ones
//            | "%" N  each N-th call
//            | "once" the first call; without "@ when", every call
//
// Calls are counted from when the rules were set. A function that fails by injection
// does nothing else. `nrta_execute_schedule.completion` is the status with which an
// asynchronous request ends that was accepted.
#pragma once

#include <atomic>
#include <string>

#include "nrt/nrt_status.h"

namespace emulator {

namespace inject {

enum class State { unread, idle, armed };

/// Whether there are rules; `unread` until the environment was looked at.
inline std::atomic<State> state{State::unread};

/// Applies the rules. Slow: only called where there may be some.
NRT_STATUS find_failure(const char* function) noexcept;

/// Takes the environment's rules, if they are not those taken before. nrt_init calls
/// it. Throws StatusError(NRT_INVALID) saying what is wrong with them.
void load_environment();

/// Replaces all rules and starts counting anew. Throws as above, and leaves the rules.
void set_rules(const std::string& text);

}  // namespace inject

/// The status with which the call of `function` that just began is to fail, or
/// NRT_SUCCESS to go on. Called once at each entry point; one load when nothing is
/// injected. Never throws.
inline NRT_STATUS injected(const char* function) noexcept {
  if (inject::state.load(std::memory_order_relaxed) == inject::State::idle) {
    return NRT_SUCCESS;
  }
  return inject::find_failure(function);
}

}  // namespace emulator
