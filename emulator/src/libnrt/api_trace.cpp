// Entry points: the system trace. See nrt/nrt_sys_trace.h.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "api.h"
#include "nrt/nrt_sys_trace.h"
#include "session.h"
#include "trace_buffer.h"
#include "trace_settings.h"

namespace emulator {
namespace {

struct TraceConfig : Guarded<trace::Capture> {
  static constexpr unsigned kHandleTag = 0x21;
  static constexpr const char* kHandleName = "system trace configuration";
};

struct FetchOptions : Guarded<trace::Selection> {
  static constexpr unsigned kHandleTag = 0x22;
  static constexpr const char* kHandleName = "set of fetch options";
};

/// The one system trace of the process.
class SystemTrace {
 public:
  void start(Session& session, trace::Capture capture) {
    std::lock_guard<std::mutex> lock(mutex_);
    require(!buffer_, "the system trace is started already");
    buffer_ = std::make_shared<trace::Buffer>(std::move(capture));
    trace::listen(buffer_);
    if (hooked_) return;
    session.on_close([this] { close(); });
    hooked_ = true;
  }

  void stop() {
    std::lock_guard<std::mutex> lock(mutex_);
    require(buffer_ != nullptr, "the system trace is not started");
    forget();
  }

  std::shared_ptr<trace::Buffer> buffer() {
    std::lock_guard<std::mutex> lock(mutex_);
    require(buffer_ != nullptr, "the system trace is not started");
    return buffer_;
  }

 private:
  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    hooked_ = false;
    forget();
  }

  void forget() {
    if (buffer_) trace::stop_listening(buffer_);
    buffer_.reset();
  }

  std::mutex mutex_;
  std::shared_ptr<trace::Buffer> buffer_;
  bool hooked_ = false;  // to the session's end
};

SystemTrace& system_trace() {
  static auto* const instance = new SystemTrace;
  return *instance;
}

/// The names of types, which are the caller's to free.
void give_types(const trace::TypeSet& types, const char*** names, std::size_t* count) {
  std::vector<const char*> wanted;
  for (int i = 0; i < trace::kEventTypes; ++i) {
    const auto type = static_cast<trace::EventType>(i);
    if (types[static_cast<std::size_t>(i)]) wanted.push_back(trace::event_name(type));
  }
  give_names(wanted, names, count);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t** config) {
  return allocate_settings<TraceConfig>("nrt_sys_trace_config_allocate", config);
}

NRT_API void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t* config) {
  edit_settings<TraceConfig>("nrt_sys_trace_config_set_defaults", config,
                             [](trace::Capture& capture) { capture = {}; });
}

NRT_API void nrt_sys_trace_config_free(nrt_sys_trace_config_t* config) {
  release_settings<TraceConfig>("nrt_sys_trace_config_free", config);
}

NRT_API void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t* config,
                                                        uint64_t count) {
  edit_settings<TraceConfig>("nrt_sys_trace_config_set_max_events_per_nc", config,
                             [&](trace::Capture& c) { c.max_events_per_core = count; });
}

NRT_API void nrt_sys_trace_config_set_capture_enabled_for_nc(
    nrt_sys_trace_config_t* config, uint32_t nc, bool enabled) {
  edit_settings<TraceConfig>(
      "nrt_sys_trace_config_set_capture_enabled_for_nc", config,
      [&](trace::Capture& capture) { capture.cores[nc] = enabled; });
}

NRT_API NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(
    nrt_sys_trace_config_t* config, const char* event_type, bool enabled) {
  return edit_settings<TraceConfig>(
      "nrt_sys_trace_config_set_capture_enabled_for_event_type", config,
      [&](trace::Capture& c) { trace::enable_type(c.types, event_type, enabled); });
}

NRT_API NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(
    nrt_sys_trace_config_t* config, const char*** types, size_t* count) {
  return edit_settings<TraceConfig>("nrt_sys_trace_config_get_enabled_event_types",
                                    config, [&](const trace::Capture& capture) {
                                      require(types && count,
                                              "an address for the result is NULL");
                                      give_types(capture.types, types, count);
                                    });
}

NRT_API NRT_STATUS nrt_sys_trace_get_event_types(const char*** types, size_t* count) {
  return api_call_any_time("nrt_sys_trace_get_event_types", [&] {
    require(types && count, "an address for the result is NULL");
    give_types(trace::all_types(), types, count);
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_sys_trace_free_event_types(const char** types, size_t count) {
  free_names(types, count);
}

NRT_API NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t* config) {
  return api_call("nrt_sys_trace_start", [&](Session& session) {
    system_trace().start(session, settings_of<TraceConfig>(config));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_sys_trace_stop(void) {
  return api_call("nrt_sys_trace_stop", [](Session&) {
    system_trace().stop();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS
nrt_sys_trace_fetch_options_allocate(nrt_sys_trace_fetch_options_t** options) {
  return allocate_settings<FetchOptions>("nrt_sys_trace_fetch_options_allocate",
                                         options);
}

NRT_API void nrt_sys_trace_fetch_options_set_defaults(
    nrt_sys_trace_fetch_options_t* options) {
  edit_settings<FetchOptions>("nrt_sys_trace_fetch_options_set_defaults", options,
                              [](trace::Selection& selection) { selection = {}; });
}

NRT_API void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t* options) {
  release_settings<FetchOptions>("nrt_sys_trace_fetch_options_free", options);
}

NRT_API void nrt_sys_trace_fetch_options_set_max_events_per_nc(
    nrt_sys_trace_fetch_options_t* options, uint64_t count) {
  edit_settings<FetchOptions>(
      "nrt_sys_trace_fetch_options_set_max_events_per_nc", options,
      [&](trace::Selection& s) { s.max_events_per_core = count; });
}

NRT_API void nrt_sys_trace_fetch_options_set_nc_idx(
    nrt_sys_trace_fetch_options_t* options, uint64_t nc) {
  edit_settings<FetchOptions>(
      "nrt_sys_trace_fetch_options_set_nc_idx", options,
      [&](trace::Selection& selection) { selection.core = nc; });
}

NRT_API NRT_STATUS nrt_sys_trace_fetch_events(
    char** buffer, size_t* written, const nrt_sys_trace_fetch_options_t* options) {
  return api_call("nrt_sys_trace_fetch_events", [&](Session&) {
    require(buffer && written, "an address for the result is NULL");
    const auto selection = settings_of<FetchOptions>(options);
    const std::string text = system_trace().buffer()->fetch(selection);
    *buffer = allocate_memory<char>(text.size() + 1);
    std::memcpy(*buffer, text.c_str(), text.size() + 1);
    *written = text.size();
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_sys_trace_buffer_free(char* buffer) { std::free(buffer); }
