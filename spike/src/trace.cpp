#include "trace.h"

#include <utility>

namespace spike {
namespace {

std::atomic<bool> tracing{false};

}  // namespace

SystemTraceSession::SystemTraceSession(std::shared_ptr<Runtime> runtime,
                                       std::optional<uint32_t> core_id)
    : runtime_(std::move(runtime)), core_id_(core_id) {
  Use nrt(runtime_, "start a system trace");
  if (tracing.exchange(true))
    throw SpikeError(
        "Cannot start sys trace: another session is running, and libnrt has one trace "
        "per process. Stop the other first.");
  try {
    check(start(*nrt), "Failed to start sys trace");
  } catch (...) {
    tracing = false;
    throw;
  }
  started_ = true;
}

int SystemTraceSession::start(const NrtApi& api) {
  auto allocate = SPIKE_NEED(api, nrt_sys_trace_config_allocate);
  auto release = SPIKE_NEED(api, nrt_sys_trace_config_free);
  auto capture = SPIKE_NEED(api, nrt_sys_trace_config_set_capture_enabled_for_nc);
  auto begin = SPIKE_NEED(api, nrt_sys_trace_start);
  SPIKE_NEED(api, nrt_sys_trace_stop);
  uint32_t cores = 0;
  check(api.nrt_get_visible_nc_count(&cores), "Failed to get visible NC count");
  nrt_sys_trace_config_t* config = nullptr;
  check(allocate(&config), "Failed to allocate sys trace config");
  // A fresh configuration captures every core.
  for (uint32_t core = 0; core_id_ && core < cores; ++core)
    capture(config, core, core == *core_id_);
  int status = begin(config);
  release(config);
  return status;
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

std::string SystemTraceSession::take_events(const char* action) {
  if (!started_)
    throw SpikeError(std::string("Cannot ") + action +
                     " events: sys trace is not started");
  Use nrt(runtime_, "fetch trace events");
  auto release_options = SPIKE_NEED(*nrt, nrt_sys_trace_fetch_options_free);
  auto set_core = SPIKE_NEED(*nrt, nrt_sys_trace_fetch_options_set_nc_idx);
  auto fetch = SPIKE_NEED(*nrt, nrt_sys_trace_fetch_events);
  auto release_buffer = SPIKE_NEED(*nrt, nrt_sys_trace_buffer_free);
  nrt_sys_trace_fetch_options_t* options = nullptr;
  check(SPIKE_NEED(*nrt, nrt_sys_trace_fetch_options_allocate)(&options),
        "Failed to allocate fetch options");
  if (core_id_) set_core(options, *core_id_);
  char* buffer = nullptr;
  size_t size = 0;
  int status = fetch(&buffer, &size, options);
  release_options(options);
  std::string events(buffer ? buffer : "", buffer ? size : 0);
  if (buffer) release_buffer(buffer);
  check(status, ("Failed to " + std::string(action) + " trace events").c_str());
  while (!events.empty() && events.back() == '\0') events.pop_back();
  return events;
}

}  // namespace spike
