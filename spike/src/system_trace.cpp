// System-trace sessions, as Python sees them.

#include "bindings.h"

namespace spike {
namespace {

/// Records libnrt's events from construction until `stop`. libnrt has one trace for the
/// whole process, so there is at most one session at a time.
class SystemTraceSession {
 public:
  /// Traces one core, or all. Throws SpikeError if another session is running.
  explicit SystemTraceSession(std::optional<uint32_t> core_id)
      // Not a lease: with the last tensor the runtime closes, and this stops.
      : runtime_(open_runtime()->shared_from_this()), core_id_(core_id) {
    Use nrt(runtime_, "Unable to start a system trace");
    std::lock_guard lock(starting);
    if (running)
      throw SpikeError(
          "Cannot start sys trace: another session is running, and libnrt has one "
          "trace per process. Stop the other first.");
    start(nrt);
    running = this;
  }
  ~SystemTraceSession() {
    try {
      stop();
    } catch (const std::exception&) {
      // Nobody is left to be told.
    }
  }
  SystemTraceSession(const SystemTraceSession&) = delete;

  /// Idempotent.
  void stop() {
    SystemTraceSession* self = this;
    if (!running.compare_exchange_strong(self, nullptr)) return;
    Use nrt(runtime_);  // if it is closed, so is the trace
    if (nrt) check(nrt->nrt_sys_trace_stop(), "Failed to stop sys trace");
  }

  /// The events since the last fetch, as JSON; empty if there are none. Throws
  /// SpikeError once stopped.
  std::string fetch() { return take_events("fetch"); }
  /// Drops the events that there are.
  void drain() { take_events("drain"); }

 private:
  void start(const Use& nrt) {
    uint32_t cores = 0;
    check(nrt->nrt_get_visible_nc_count(&cores), "Failed to get visible NC count");
    nrt_sys_trace_config_t* config = nullptr;
    check(nrt->nrt_sys_trace_config_allocate(&config),
          "Failed to allocate sys trace config");
    // A fresh configuration captures every core.
    for (uint32_t core = 0; core_id_ && core < cores; ++core)
      nrt->nrt_sys_trace_config_set_capture_enabled_for_nc(config, core,
                                                           core == *core_id_);
    int status = nrt->nrt_sys_trace_start(config);
    nrt->nrt_sys_trace_config_free(config);
    check(status, "Failed to start sys trace");
  }

  std::string take_events(const std::string& action) {
    if (running != this)
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

  static inline std::mutex starting;
  static inline std::atomic<SystemTraceSession*> running{nullptr};
  const std::shared_ptr<NrtRuntime> runtime_;
  const std::optional<uint32_t> core_id_;
};

}  // namespace

void define_trace(nb::module_& m) {
  using Session = SystemTraceSession;
  nb::class_<Session>(m, "SystemTraceSession",
                      "Records libnrt's events of one core, or of all, until stopped.")
      .def(nb::init<std::optional<uint32_t>>(), "core_id"_a = nb::none())
      .def("stop", &Session::stop, "Idempotent.")
      .def("fetch_events_json", &Session::fetch,
           "The events since the last fetch as JSON; empty if there are none.")
      .def("drain_events", &Session::drain, "Take events and drop them.")
      .def("__enter__", [](nb::typed<nb::object, Session> self) { return self; })
      .def(
          "__exit__", [](Session& self, nb::args) { self.stop(); },
          nb::sig("def __exit__(self, *args: object) -> None"));
}

}  // namespace spike
