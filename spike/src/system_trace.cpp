#include "system_trace.h"

#include <utility>

namespace spike {
namespace {

std::atomic<bool> tracing{false};

}  // namespace

SystemTraceSession::SystemTraceSession(std::shared_ptr<NrtRuntime> runtime,
                                       std::optional<uint32_t> core_id)
    : runtime_(std::move(runtime)), core_id_(core_id) {
  Use nrt(runtime_, "Unable to start a system trace");
  if (tracing.exchange(true))
    throw SpikeError(
        "Cannot start sys trace: another session is running, and libnrt has one "
        "trace per process. Stop the other first.");
  try {
    start(nrt);
  } catch (...) {
    tracing = false;
    throw;
  }
  started_ = true;
}

SystemTraceSession::~SystemTraceSession() {
  try {
    stop();
  } catch (const std::exception&) {
    // Nobody is left to be told.
  }
}

void SystemTraceSession::stop() {
  if (!std::exchange(started_, false)) return;
  tracing = false;
  Use nrt(runtime_);  // if it is closed, so is the trace
  if (nrt) check(nrt->nrt_sys_trace_stop(), "Failed to stop sys trace");
}

void SystemTraceSession::start(const Use& nrt) {
  nrt_sys_trace_config_t* config = nullptr;
  check(nrt->nrt_sys_trace_config_allocate(&config),
        "Failed to allocate sys trace config");
  uint32_t cores = 0;
  int counted = nrt->nrt_get_visible_nc_count(&cores);
  // A fresh configuration captures every core.
  for (uint32_t core = 0; core_id_ && core < cores; ++core)
    nrt->nrt_sys_trace_config_set_capture_enabled_for_nc(config, core,
                                                         core == *core_id_);
  int status = counted == NRT_SUCCESS ? nrt->nrt_sys_trace_start(config) : counted;
  nrt->nrt_sys_trace_config_free(config);
  check(counted, "Failed to get visible NC count");
  check(status, "Failed to start sys trace");
}

std::string SystemTraceSession::take_events(const std::string& action) {
  if (!started_)
    throw SpikeError("Cannot " + action + " events: sys trace is not started");
  Use nrt(runtime_, "Unable to fetch trace events");
  nrt_sys_trace_fetch_options_t* options = nullptr;
  check(nrt->nrt_sys_trace_fetch_options_allocate(&options),
        "Failed to allocate fetch options");
  if (core_id_) nrt->nrt_sys_trace_fetch_options_set_nc_idx(options, *core_id_);
  char* buffer = nullptr;
  size_t size = 0;
  int status = nrt->nrt_sys_trace_fetch_events(&buffer, &size, options);
  nrt->nrt_sys_trace_fetch_options_free(options);
  std::string events(buffer ? buffer : "", buffer ? size : 0);
  if (buffer) nrt->nrt_sys_trace_buffer_free(buffer);
  check(status, ("Failed to " + action + " trace events").c_str());
  while (!events.empty() && events.back() == '\0') events.pop_back();
  return events;
}

}  // namespace spike
