#include "api.h"

#include <exception>

namespace emulator {

NRT_STATUS status_of_current_exception(const char* function) noexcept {
  try {
    throw;
  } catch (const StatusError& error) {
    EMULATOR_LOG(nrt, error, function, "%s", error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    EMULATOR_LOG(nrt, error, function, "the machine is out of memory");
    return NRT_RESOURCE;
  } catch (const std::exception& error) {
    EMULATOR_LOG(nrt, error, function, "unexpected: %s", error.what());
    return NRT_FAILURE;
  } catch (...) {
    return NRT_FAILURE;
  }
}

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
