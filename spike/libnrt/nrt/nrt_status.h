// Made from emulator/src/libnrt/include/nrt/nrt_status.h
// by tools/generate_libnrt_headers.py; not to be edited.

// Status codes of libnrt's interface. Our own declarations of the documented values.
// Made from spike/src/neff/status.py by tools/generate_statuses.py; not to be edited.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// clang-format off
/// What every function that can fail returns. Values 8 and 12 are not used.
typedef enum {
  NRT_SUCCESS = 0,
  NRT_FAILURE = 1,  // no more specific status fits
  NRT_INVALID = 2,  // bad NEFF, argument, tensor name or size
  NRT_INVALID_HANDLE = 3,  // a handle that was freed, or never was one
  NRT_RESOURCE = 4,  // memory or another resource ran out
  NRT_TIMEOUT = 5,
  NRT_HW_ERROR = 6,
  NRT_QUEUE_FULL = 7,
  NRT_LOAD_NOT_ENOUGH_NC = 9,
  NRT_UNSUPPORTED_NEFF_VERSION = 10,
  NRT_FAIL_HOST_MEM_ALLOC = 11,  // legacy; never returned
  NRT_UNINITIALIZED = 13,  // called before nrt_init
  NRT_CLOSED = 14,  // called after nrt_close
  NRT_QUEUE_EMPTY = 15,
  NRT_EXEC_UNIT_UNRECOVERABLE = 101,  // terminal until the runtime is initialised again
  NRT_EXEC_BAD_INPUT = 1002,
  NRT_EXEC_COMPLETED_WITH_NUM_ERR = 1003,  // a result has NaN, and detection is on
  NRT_EXEC_COMPLETED_WITH_ERR = 1004,
  NRT_EXEC_NC_BUSY = 1005,
  NRT_EXEC_OOB = 1006,  // indirect access out of bounds
  NRT_COLL_PENDING = 1100,
  NRT_EXEC_HW_ERR_COLLECTIVES = 1200,
  NRT_EXEC_HW_ERR_HBM_UE = 1201,
  NRT_EXEC_HW_ERR_NC_UE = 1202,
  NRT_EXEC_HW_ERR_DMA_ABORT = 1203,
  NRT_EXEC_SW_NQ_OVERFLOW = 1204,
  NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205,
  NRT_NETWORK_PROXY_FAILURE = 1206,
} NRT_STATUS;
// clang-format on

/// The status's name, or "NRT_STATUS_UNKNOWN". Works at any time; never NULL.
const char* nrt_get_status_as_str(NRT_STATUS status);

#ifdef __cplusplus
}
#endif
