// Made from emulator/src/libnrt/include/nrt/nrt_sys_trace.h
// by tools/generate_libnrt_headers.py; not to be edited.

// The system trace: events of the runtime, as JSON text.
#pragma once

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nrt_sys_trace_config nrt_sys_trace_config_t;
typedef struct nrt_sys_trace_fetch_options nrt_sys_trace_fetch_options_t;

NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t** config);
void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t* config);
void nrt_sys_trace_config_free(nrt_sys_trace_config_t* config);
void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t* config,
                                                uint64_t count);
void nrt_sys_trace_config_set_capture_enabled_for_nc(nrt_sys_trace_config_t* config,
                                                     uint32_t nc, bool enabled);
NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(
    nrt_sys_trace_config_t* config, const char* event_type, bool enabled);
/// The array and each name in it are the caller's to free, with free() or with
/// nrt_sys_trace_free_event_types.
NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(nrt_sys_trace_config_t* config,
                                                        const char*** types,
                                                        size_t* count);
NRT_STATUS nrt_sys_trace_get_event_types(const char*** types, size_t* count);
void nrt_sys_trace_free_event_types(const char** types, size_t count);

NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t* config);
NRT_STATUS nrt_sys_trace_stop(void);

NRT_STATUS nrt_sys_trace_fetch_options_allocate(
    nrt_sys_trace_fetch_options_t** options);
void nrt_sys_trace_fetch_options_set_defaults(nrt_sys_trace_fetch_options_t* options);
void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t* options);
void nrt_sys_trace_fetch_options_set_max_events_per_nc(
    nrt_sys_trace_fetch_options_t* options, uint64_t count);
void nrt_sys_trace_fetch_options_set_nc_idx(nrt_sys_trace_fetch_options_t* options,
                                            uint64_t nc);
/// Takes the events out. The text belongs to the caller: nrt_sys_trace_buffer_free.
NRT_STATUS nrt_sys_trace_fetch_events(char** buffer, size_t* written,
                                      const nrt_sys_trace_fetch_options_t* options);
void nrt_sys_trace_buffer_free(char* buffer);

#ifdef __cplusplus
}
#endif
