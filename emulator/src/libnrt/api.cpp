#include "api.h"

#include <exception>
#include <string>

namespace emulator {
namespace {

thread_local std::string last_error;

void remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
}

}  // namespace

void clear_last_error() noexcept { last_error.clear(); }

NRT_STATUS status_of_current_exception(const char* function) noexcept {
  try {
    throw;
  } catch (const StatusError& error) {
    remember(error.what());
    EMULATOR_LOG(nrt, error, function, "%s", error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    clear_last_error();
    EMULATOR_LOG(nrt, error, function, "the machine is out of memory");
    return NRT_RESOURCE;
  } catch (const std::exception& error) {
    remember(error.what());
    EMULATOR_LOG(nrt, error, function, "unexpected: %s", error.what());
    return NRT_FAILURE;
  } catch (...) {
    return NRT_FAILURE;
  }
}

const char* last_error_text() noexcept { return last_error.c_str(); }

void log_not_running(const char* function, NRT_STATUS status) noexcept {
  if (Runtime::instance().forked()) {
    EMULATOR_LOG(nrt, error, function,
                 "this process was forked from one that had initialised the runtime, "
                 "which is not for it to use");
    return;
  }
  EMULATOR_LOG(nrt, error, function, "called %s",
               status == NRT_CLOSED ? "after nrt_close" : "before nrt_init");
}

}  // namespace emulator

// Why the last call of this thread that failed did so, as the log has it; "" if that is
// not known. Valid until the next one. What only the emulator has.
NRT_API const char* nkipy_emulator_last_error(void) {
  return emulator::last_error_text();
}
