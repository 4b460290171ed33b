// The part of libnrt's C interface that spike uses, in our own declarations, and the
// table of its functions. Nothing links with libnrt: the table is filled at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace spike {

// Every status that libnrt documents. X(name, number)
#define SPIKE_NRT_STATUSES(X)                \
  X(NRT_SUCCESS, 0)                          \
  X(NRT_FAILURE, 1)                          \
  X(NRT_INVALID, 2)                          \
  X(NRT_INVALID_HANDLE, 3)                   \
  X(NRT_RESOURCE, 4)                         \
  X(NRT_TIMEOUT, 5)                          \
  X(NRT_HW_ERROR, 6)                         \
  X(NRT_QUEUE_FULL, 7)                       \
  X(NRT_LOAD_NOT_ENOUGH_NC, 9)               \
  X(NRT_UNSUPPORTED_NEFF_VERSION, 10)        \
  X(NRT_FAIL_HOST_MEM_ALLOC, 11)             \
  X(NRT_UNINITIALIZED, 13)                   \
  X(NRT_CLOSED, 14)                          \
  X(NRT_QUEUE_EMPTY, 15)                     \
  X(NRT_EXEC_UNIT_UNRECOVERABLE, 101)        \
  X(NRT_EXEC_BAD_INPUT, 1002)                \
  X(NRT_EXEC_COMPLETED_WITH_NUM_ERR, 1003)   \
  X(NRT_EXEC_COMPLETED_WITH_ERR, 1004)       \
  X(NRT_EXEC_NC_BUSY, 1005)                  \
  X(NRT_EXEC_OOB, 1006)                      \
  X(NRT_COLL_PENDING, 1100)                  \
  X(NRT_EXEC_HW_ERR_COLLECTIVES, 1200)       \
  X(NRT_EXEC_HW_ERR_HBM_UE, 1201)            \
  X(NRT_EXEC_HW_ERR_NC_UE, 1202)             \
  X(NRT_EXEC_HW_ERR_DMA_ABORT, 1203)         \
  X(NRT_EXEC_SW_NQ_OVERFLOW, 1204)           \
  X(NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE, 1205) \
  X(NRT_NETWORK_PROXY_FAILURE, 1206)

enum NrtStatus : int {
#define X(name, number) name = number,
  SPIKE_NRT_STATUSES(X)
#undef X
};

inline constexpr int kFrameworkNone = 1;
inline constexpr int kPlacementDevice = 0;
inline constexpr uint32_t kUsageInput = 0;

struct nrt_model_t;
struct nrt_tensor_t;
using nrt_tensor_set_t = void;
struct nrt_sys_trace_config_t;
struct nrt_sys_trace_fetch_options_t;
using nrta_seq_t = uint64_t;

struct nrt_tensor_info_t {
  char name[256];
  uint32_t usage;
  size_t size;
  uint32_t dtype;
  uint32_t* shape;
  uint32_t ndim;
};
static_assert(sizeof(nrt_tensor_info_t) == 296, "the layout is part of libnrt's ABI");

struct nrt_tensor_info_array_t {
  uint64_t tensor_count;
  nrt_tensor_info_t tensors[1];  // tensor_count of them
};

struct nrt_version_t {
  uint64_t major, minor, patch, maintenance;
  char detail[128];
  char git_hash[64];
};
static_assert(sizeof(nrt_version_t) == 224, "the layout is part of libnrt's ABI");

struct nrt_vnc_memory_stats_t {
  size_t bytes_used, bytes_limit;
};

// Functions without which spike cannot work. X(result, name, parameters)
#define SPIKE_NRT_REQUIRED(X)                                                   \
  X(int, nrt_init, (int, const char*, const char*))                             \
  X(void, nrt_close, ())                                                        \
  X(int, nrt_get_visible_nc_count, (uint32_t*))                                 \
  X(int, nrt_load, (const void*, size_t, int32_t, int32_t, nrt_model_t**))      \
  X(int, nrt_load_collectives,                                                  \
    (const void*, size_t, int32_t, int32_t, uint32_t, uint32_t, nrt_model_t**)) \
  X(int, nrt_unload, (nrt_model_t*))                                            \
  X(int, nrt_get_model_tensor_info, (nrt_model_t*, nrt_tensor_info_array_t**))  \
  X(int, nrt_free_model_tensor_info, (nrt_tensor_info_array_t*))                \
  X(int, nrt_tensor_allocate, (int, int, size_t, const char*, nrt_tensor_t**))  \
  X(int, nrt_tensor_allocate_slice,                                             \
    (const nrt_tensor_t*, size_t, size_t, const char*, nrt_tensor_t**))         \
  X(void, nrt_tensor_free, (nrt_tensor_t**))                                    \
  X(int, nrt_tensor_read, (const nrt_tensor_t*, void*, size_t, size_t))         \
  X(int, nrt_tensor_write, (nrt_tensor_t*, const void*, size_t, size_t))        \
  X(void*, nrt_tensor_get_va, (const nrt_tensor_t*))                            \
  X(int, nrt_allocate_tensor_set, (nrt_tensor_set_t**))                         \
  X(void, nrt_destroy_tensor_set, (nrt_tensor_set_t**))                         \
  X(int, nrt_add_tensor_to_tensor_set,                                          \
    (nrt_tensor_set_t*, const char*, nrt_tensor_t*))                            \
  X(int, nrt_execute, (nrt_model_t*, const nrt_tensor_set_t*, nrt_tensor_set_t*))

// Functions that only some features need: null when libnrt lacks them.
#define SPIKE_NRT_OPTIONAL(X)                                                     \
  X(int, nrt_get_version, (nrt_version_t*, size_t))                               \
  X(int, nrt_get_vnc_memory_stats,                                                \
    (uint32_t, nrt_vnc_memory_stats_t*, size_t, size_t*))                         \
  X(int, nrt_tensor_copy,                                                         \
    (const nrt_tensor_t*, size_t, nrt_tensor_t*, size_t, size_t))                 \
  X(int, nrt_tensor_memset, (nrt_tensor_t*, uint64_t, int, size_t))               \
  X(int, nrt_profile_start, (nrt_model_t*, const char*))                          \
  X(int, nrt_profile_stop, (const char*))                                         \
  X(int, nrt_sys_trace_config_allocate, (nrt_sys_trace_config_t**))               \
  X(void, nrt_sys_trace_config_free, (nrt_sys_trace_config_t*))                   \
  X(void, nrt_sys_trace_config_set_capture_enabled_for_nc,                        \
    (nrt_sys_trace_config_t*, uint32_t, bool))                                    \
  X(int, nrt_sys_trace_start, (nrt_sys_trace_config_t*))                          \
  X(int, nrt_sys_trace_stop, ())                                                  \
  X(int, nrt_sys_trace_fetch_options_allocate, (nrt_sys_trace_fetch_options_t**)) \
  X(void, nrt_sys_trace_fetch_options_free, (nrt_sys_trace_fetch_options_t*))     \
  X(void, nrt_sys_trace_fetch_options_set_nc_idx,                                 \
    (nrt_sys_trace_fetch_options_t*, uint64_t))                                   \
  X(int, nrt_sys_trace_fetch_events,                                              \
    (char**, size_t*, const nrt_sys_trace_fetch_options_t*))                      \
  X(void, nrt_sys_trace_buffer_free, (char*))

// Explicit asynchronous execution. The functions of these names in node NRT_2.0.0 take
// other arguments, so these are looked up with their version; without it they are null.
#define SPIKE_NRT_ASYNC(X)                                                \
  X(int, nrta_execute_schedule,                                           \
    (nrt_model_t*, const nrt_tensor_set_t*, nrt_tensor_set_t*, int, int*, \
     nrta_seq_t*))                                                        \
  X(int, nrta_is_completed, (nrta_seq_t, bool*))
#define SPIKE_NRT_ASYNC_EVENTS(X) \
  X(int, nrta_event_register_seq_id_completion, (nrta_seq_t, int))

/// The functions of one loaded libnrt, which stays loaded for the life of the process.
struct NrtApi {
  std::string path;
#define X(result, name, parameters) result(*name) parameters = nullptr;
  SPIKE_NRT_REQUIRED(X)
  SPIKE_NRT_OPTIONAL(X)
  SPIKE_NRT_ASYNC(X)
  SPIKE_NRT_ASYNC_EVENTS(X)
#undef X

  /// Loads the library. Throws SpikeError when it cannot be loaded, or names every
  /// required function that it lacks.
  static std::shared_ptr<const NrtApi> load(const std::string& path);

  /// Whether explicit async execution of the generation that spike knows is there.
  bool has_async() const {
    return nrta_execute_schedule && nrta_is_completed &&
           nrta_event_register_seq_id_completion;
  }
};

}  // namespace spike
