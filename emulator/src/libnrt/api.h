// What every entry point does first and last: injected failures, the runtime's state,
// exceptions into statuses.
#pragma once

#include <new>

#include "inject.h"
#include "log.h"
#include "nrt/nrt_status.h"
#include "runtime.h"
#include "status.h"

/// In front of each entry point's definition.
#define NRT_API extern "C" __attribute__((visibility("default")))

namespace emulator {

/// Logs the exception being handled; returns the status that it stands for. The text
/// stays this thread's last error.
NRT_STATUS status_of_current_exception(const char* function) noexcept;

/// What the exception said that this thread handled last; "" if there was none.
const char* last_error_text() noexcept;
/// What a handler of a signal raised, if it was that, once: a strong PyObject*.
void* take_last_interrupt() noexcept;
/// Forgets what it said.
void clear_last_error() noexcept;

/// Logs that `function` was called outside of nrt_init and nrt_close.
void log_not_running(const char* function, NRT_STATUS status) noexcept;

/// For functions that work at any time: runs `body()`, which returns a status or
/// throws.
template <typename Body>
NRT_STATUS api_call_any_time(const char* function, Body&& body) noexcept {
  const NRT_STATUS failure = injected(function);
  if (failure != NRT_SUCCESS) {
    clear_last_error();
    return failure;
  }
  try {
    return body();
  } catch (...) {
    return status_of_current_exception(function);
  }
}

/// For functions that need an initialised runtime: runs `body(Session &)`.
template <typename Body>
NRT_STATUS api_call(const char* function, Body&& body) noexcept {
  const Call call;
  if (call.status() != NRT_SUCCESS) {
    log_not_running(function, call.status());
    return call.status();
  }
  return api_call_any_time(function, [&] { return body(call.session()); });
}

/// For functions without a status: the same, and nothing happens on failure.
template <typename Body>
void api_call_void(const char* function, Body&& body) noexcept {
  api_call(function, [&](Session& session) {
    body(session);
    return NRT_SUCCESS;
  });
}

}  // namespace emulator
