// Made from emulator/src/libnrt/include/nrt/nrt_profile.h
// by tools/generate_libnrt_headers.py; not to be edited.

// Profiles and inspection.
#pragma once

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nrt_profile_continuous_options nrt_profile_continuous_options_t;
typedef struct nrt_inspect_config nrt_inspect_config_t;

/// What device profiles are of. The names are documented, the numbers are not: these
/// are in the order of the documented values of NEURON_RT_INSPECT_DEVICE_PROFILE.
typedef enum {
  NRT_INSPECT_DEVICE_PROFILE_MODE_MODEL = 1,    // the first execution of each model
  NRT_INSPECT_DEVICE_PROFILE_MODE_SESSION = 2,  // all that a core does
} nrt_inspect_device_profile_mode_t;

NRT_STATUS nrt_profile_start(nrt_model_t* model, const char* filename);
/// `filename` is that given to nrt_profile_start; what the file held is gone.
NRT_STATUS nrt_profile_stop(const char* filename);

NRT_STATUS nrt_profile_continuous_options_allocate(
    nrt_profile_continuous_options_t** options);
void nrt_profile_continuous_options_free(nrt_profile_continuous_options_t* options);
NRT_STATUS nrt_profile_continuous_options_set_output_dir(
    nrt_profile_continuous_options_t* options, const char* directory);
NRT_STATUS nrt_profile_continuous_start(nrt_profile_continuous_options_t* options);
NRT_STATUS nrt_profile_continuous_save(uint32_t vnc,
                                       nrt_profile_continuous_options_t* options);
NRT_STATUS nrt_profile_continuous_stop(void);

NRT_STATUS nrt_inspect_begin(void);
NRT_STATUS nrt_inspect_stop(void);
/// With NULL, the defaults; the environment is not read.
NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t* config);

NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t** config);
NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t* config);
NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t* config);
NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t* config, int id);
NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t* config,
                                             const char* directory);
NRT_STATUS nrt_inspect_config_set_sys_trace_max_events_per_nc(
    nrt_inspect_config_t* config, uint64_t count);
NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(nrt_inspect_config_t* config,
                                                         uint32_t nc, bool enabled);
NRT_STATUS nrt_inspect_config_set_capture_enabled_for_event_type_string(
    nrt_inspect_config_t* config, const char* event_type, bool enabled);
NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t* config,
                                                 bool enabled);
NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(nrt_inspect_config_t* config,
                                                         bool enabled);
NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t* config,
                                           const char* activity, bool enabled);
NRT_STATUS nrt_inspect_config_set_inspect_device_profile_mode(
    nrt_inspect_config_t* config, nrt_inspect_device_profile_mode_t mode);
/// The array and each name in it are the caller's to free, with free() or with
/// nrt_inspect_config_free_activity_types.
NRT_STATUS nrt_inspect_config_get_all_activity_types(const char*** types,
                                                     size_t* count);
NRT_STATUS nrt_inspect_config_get_enabled_activity_types(nrt_inspect_config_t* config,
                                                         const char*** types,
                                                         size_t* count);
void nrt_inspect_config_free_activity_types(const char** types, size_t count);

NRT_STATUS nrt_trace_start(bool trace_mem);
NRT_STATUS nrt_trace_stop(const char* filename);

#ifdef __cplusplus
}
#endif
