// The debug stream: what kernels print on the device.
#pragma once

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  NDEBUG_STREAM_EVENT_TYPE_INVALID = 0,
  NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ = 1,
} ndebug_stream_event_type_t;

typedef struct {
  uint64_t data_size;
  uint32_t type;
  char reserved[52];
} ndebug_stream_event_header_t;

typedef struct {
  char prefix[512];
  uint32_t logical_nc_id;
  uint32_t pipe;
  char tensor_dtype[16];
  uint64_t tensor_shape[8];
  uint64_t tensor_data_size;
  char reserved0[416];
  char tensor_data[];
} ndebug_stream_payload_debug_tensor_read_t;

/// One client per core. The descriptor is for poll and select only.
NRT_STATUS nrt_debug_client_connect(int lnc, int* stream_fd);
void nrt_debug_client_connect_close(int stream_fd);
/// NRT_QUEUE_EMPTY if there is none. The caller frees the payload with free().
NRT_STATUS nrt_debug_client_read_one_event(int stream_fd,
                                           ndebug_stream_event_header_t* header,
                                           void** payload);

#ifdef __cplusplus
}
#endif
