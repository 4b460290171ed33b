// Entry points: inspection. See nrt/nrt_profile.h.
#include <cstdlib>
#include <string>
#include <vector>

#include "api.h"
#include "nrt/nrt_profile.h"
#include "profile_inspect.h"
#include "session.h"
#include "trace_settings.h"

namespace emulator {
namespace {

struct InspectConfig : Guarded<inspect::Settings> {
  static constexpr unsigned kHandleTag = 0x24;
  static constexpr const char* kHandleName = "inspection configuration";
};

/// The body of an entry point that changes a configuration.
template <typename Change>
NRT_STATUS edit(const char* function, nrt_inspect_config_t* config, Change&& change) {
  return edit_settings<InspectConfig>(function, config, change);
}

void set_activity(inspect::Settings& settings, const std::string& name, bool enabled) {
  if (bool* const one = inspect::activity(settings, name)) {
    *one = enabled;
    return;
  }
  for (const char* const* each = inspect::kActivities; *each; ++each) {
    *inspect::activity(settings, *each) = enabled;
  }
}

/// The names of the activities for which `wanted(name)` holds.
template <typename Wanted>
void give_activities(const char*** types, size_t* count, Wanted&& wanted) {
  require(types && count, "an address for the result is NULL");
  std::vector<const char*> names;
  for (const char* const* each = inspect::kActivities; *each; ++each) {
    if (wanted(*each)) names.push_back(*each);
  }
  give_names(names, types, count);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_inspect_begin(void) {
  return api_call("nrt_inspect_begin", [](Session& session) {
    inspect::Settings settings = inspect::Settings::read();
    settings.enabled = true;
    inspect::begin(session, settings);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t* config) {
  return api_call("nrt_inspect_begin_with_options", [&](Session& session) {
    inspect::begin(session, settings_of<InspectConfig>(config));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_inspect_stop(void) {
  return api_call("nrt_inspect_stop", [](Session&) {
    inspect::stop();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t** config) {
  return allocate_settings<InspectConfig>("nrt_inspect_config_allocate", config);
}

NRT_API NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t* config) {
  return edit("nrt_inspect_config_set_defaults", config,
              [](inspect::Settings& settings) { settings = {}; });
}

NRT_API NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t* config) {
  return release_settings<InspectConfig>("nrt_inspect_config_free", config);
}

NRT_API NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t* config,
                                                     int id) {
  return edit("nrt_inspect_config_set_session_id", config,
              [&](inspect::Settings& settings) { settings.session_id = id; });
}

NRT_API NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t* config,
                                                     const char* directory) {
  return edit("nrt_inspect_config_set_output_dir", config,
              [&](inspect::Settings& settings) {
                require(directory && *directory, "the directory is NULL or empty");
                settings.output_directory = directory;
              });
}

NRT_API NRT_STATUS nrt_inspect_config_set_sys_trace_max_events_per_nc(
    nrt_inspect_config_t* config, uint64_t count) {
  return edit("nrt_inspect_config_set_sys_trace_max_events_per_nc", config,
              [&](inspect::Settings& s) { s.capture.max_events_per_core = count; });
}

NRT_API NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(
    nrt_inspect_config_t* config, uint32_t nc, bool enabled) {
  return edit("nrt_inspect_config_set_capture_enabled_for_nc", config,
              [&](inspect::Settings& s) { s.capture.cores[nc] = enabled; });
}

NRT_API NRT_STATUS nrt_inspect_config_set_capture_enabled_for_event_type_string(
    nrt_inspect_config_t* config, const char* event_type, bool enabled) {
  return edit("nrt_inspect_config_set_capture_enabled_for_event_type_string", config,
              [&](inspect::Settings& settings) {
                trace::enable_type(settings.capture.types, event_type, enabled);
              });
}

NRT_API NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t* config,
                                                         bool enabled) {
  return edit("nrt_inspect_config_set_enable_inspect", config,
              [&](inspect::Settings& settings) { settings.enabled = enabled; });
}

NRT_API NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(
    nrt_inspect_config_t* config, bool enabled) {
  return edit("nrt_inspect_config_set_enable_inspect_on_fail", config,
              [&](inspect::Settings& settings) { settings.on_failure = enabled; });
}

NRT_API NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t* config,
                                                   const char* activity, bool enabled) {
  return edit("nrt_inspect_config_set_activity", config,
              [&](inspect::Settings& settings) {
                require(activity, "the activity is NULL");
                set_activity(settings, activity, enabled);
              });
}

NRT_API NRT_STATUS nrt_inspect_config_set_inspect_device_profile_mode(
    nrt_inspect_config_t* config, nrt_inspect_device_profile_mode_t mode) {
  return edit("nrt_inspect_config_set_inspect_device_profile_mode", config,
              [&](inspect::Settings& settings) {
                require(mode == NRT_INSPECT_DEVICE_PROFILE_MODE_MODEL ||
                            mode == NRT_INSPECT_DEVICE_PROFILE_MODE_SESSION,
                        "there is no such mode of device profiles");
                settings.device_profile_mode = mode;
              });
}

NRT_API NRT_STATUS nrt_inspect_config_get_all_activity_types(const char*** types,
                                                             size_t* count) {
  return api_call_any_time("nrt_inspect_config_get_all_activity_types", [&] {
    give_activities(types, count, [](const char*) { return true; });
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_inspect_config_get_enabled_activity_types(
    nrt_inspect_config_t* config, const char*** types, size_t* count) {
  return edit("nrt_inspect_config_get_enabled_activity_types", config,
              [&](inspect::Settings& settings) {
                give_activities(types, count, [&](const char* name) {
                  return *inspect::activity(settings, name);
                });
              });
}

NRT_API void nrt_inspect_config_free_activity_types(const char** types, size_t count) {
  free_names(types, count);
}
