#include "api.h"

#include <exception>
#include <memory>
#include <string>

#include "engine_interpreter.h"

namespace emulator {
namespace {

thread_local std::string last_error;
// What that was, if it was Interrupted: a strong PyObject*.
thread_local std::shared_ptr<void> last_interrupt;

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
  last_interrupt.reset();
  try {
    throw;
  } catch (const Interrupted& error) {
    remember(error.what());
    last_interrupt = error.exception();
    EMULATOR_LOG(nrt, info, function, "%s", error.what());
    return error.status();
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

void* take_last_interrupt() noexcept {
  const std::shared_ptr<void> taken = std::move(last_interrupt);
  return share_object(taken.get());
}

void log_not_running(const char* function, NRT_STATUS status) noexcept {
  clear_last_error();
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

// What a handler of a signal has raised, if that is why the last call of this thread
// that failed did so: a strong PyObject*, the caller's from here on; else null.
NRT_API void* nkipy_emulator_take_interrupt(void) {
  return emulator::take_last_interrupt();
}
