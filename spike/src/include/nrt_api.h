// The part of libnrt's C interface that spike uses, in our own declarations, and the
// table of its functions. Nothing links with libnrt: the table is filled at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "spike_statuses.h"

namespace spike {

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

struct nrt_model_info_t {
  uint32_t vnc;
};

/// The documented name of a status, or "UNKNOWN STATUS".
const char* status_name(int status);

/// Throws the SpikeError for a function that libnrt lacks.
[[noreturn]] void fail_missing(const char* function);

/// One function of libnrt, called as in C. Throws SpikeError if libnrt lacks it.
template <class Signature>
class NrtFunction;

template <class Result, class... Parameters>
class NrtFunction<Result(Parameters...)> {
 public:
  NrtFunction(const char* name, void* symbol)
      : name_(name), function_(reinterpret_cast<Result (*)(Parameters...)>(symbol)) {}
  Result operator()(Parameters... arguments) const {
    if (!function_) fail_missing(name_);
    return function_(arguments...);
  }
  explicit operator bool() const { return function_; }

 private:
  const char* name_;
  Result (*function_)(Parameters...);
};

/// The functions of one loaded libnrt, which stays loaded for the life of the process.
class NrtApi {
  void* const library_;
  std::string missing_;
  void* find(const char* name, bool is_required, const char* version = nullptr);

 public:
  /// Loads the library. Throws SpikeError when it cannot be loaded, or names every
  /// required function that it lacks.
  explicit NrtApi(const std::string& path);

#define REQUIRED(name, signature) \
  NrtFunction<signature> name { #name, find(#name, true) }
#define OPTIONAL(name, signature) \
  NrtFunction<signature> name { #name, find(#name, false) }
// In node NRT_2.0.0 functions of these names take other arguments.
#define VERSION_3(name, signature) \
  NrtFunction<signature> name { #name, find(#name, false, "NRT_3.0.0") }

  REQUIRED(nrt_init, int(int, const char*, const char*));
  REQUIRED(nrt_close, void());
  REQUIRED(nrt_get_visible_nc_count, int(uint32_t*));
  REQUIRED(nrt_load, int(const void*, size_t, int32_t, int32_t, nrt_model_t**));
  REQUIRED(nrt_load_collectives, int(const void*, size_t, int32_t, int32_t, uint32_t,
                                     uint32_t, nrt_model_t**));
  REQUIRED(nrt_unload, int(nrt_model_t*));
  REQUIRED(nrt_get_model_tensor_info, int(nrt_model_t*, nrt_tensor_info_array_t**));
  REQUIRED(nrt_free_model_tensor_info, int(nrt_tensor_info_array_t*));
  REQUIRED(nrt_tensor_allocate, int(int, int, size_t, const char*, nrt_tensor_t**));
  REQUIRED(nrt_tensor_allocate_slice,
           int(const nrt_tensor_t*, size_t, size_t, const char*, nrt_tensor_t**));
  REQUIRED(nrt_tensor_free, void(nrt_tensor_t**));
  REQUIRED(nrt_tensor_read, int(const nrt_tensor_t*, void*, size_t, size_t));
  REQUIRED(nrt_tensor_write, int(nrt_tensor_t*, const void*, size_t, size_t));
  REQUIRED(nrt_tensor_get_va, void*(const nrt_tensor_t*));
  REQUIRED(nrt_allocate_tensor_set, int(nrt_tensor_set_t**));
  REQUIRED(nrt_destroy_tensor_set, void(nrt_tensor_set_t**));
  REQUIRED(nrt_add_tensor_to_tensor_set,
           int(nrt_tensor_set_t*, const char*, nrt_tensor_t*));
  REQUIRED(nrt_execute, int(nrt_model_t*, const nrt_tensor_set_t*, nrt_tensor_set_t*));

  OPTIONAL(nrt_get_version, int(nrt_version_t*, size_t));
  OPTIONAL(nrt_get_model_info,
           int(const nrt_model_t*, nrt_model_info_t*, size_t, size_t*));
  OPTIONAL(nrt_get_vnc_memory_stats,
           int(uint32_t, nrt_vnc_memory_stats_t*, size_t, size_t*));
  OPTIONAL(nrt_tensor_copy,
           int(const nrt_tensor_t*, size_t, nrt_tensor_t*, size_t, size_t));
  OPTIONAL(nrt_tensor_memset, int(nrt_tensor_t*, uint64_t, int, size_t));
  OPTIONAL(nrt_profile_start, int(nrt_model_t*, const char*));
  OPTIONAL(nrt_profile_stop, int(const char*));
  OPTIONAL(nrt_sys_trace_config_allocate, int(nrt_sys_trace_config_t**));
  OPTIONAL(nrt_sys_trace_config_free, void(nrt_sys_trace_config_t*));
  OPTIONAL(nrt_sys_trace_config_set_capture_enabled_for_nc,
           void(nrt_sys_trace_config_t*, uint32_t, bool));
  OPTIONAL(nrt_sys_trace_start, int(nrt_sys_trace_config_t*));
  OPTIONAL(nrt_sys_trace_stop, int());
  OPTIONAL(nrt_sys_trace_fetch_options_allocate, int(nrt_sys_trace_fetch_options_t**));
  OPTIONAL(nrt_sys_trace_fetch_options_free, void(nrt_sys_trace_fetch_options_t*));
  OPTIONAL(nrt_sys_trace_fetch_options_set_nc_idx,
           void(nrt_sys_trace_fetch_options_t*, uint64_t));
  OPTIONAL(nrt_sys_trace_fetch_events,
           int(char**, size_t*, const nrt_sys_trace_fetch_options_t*));
  OPTIONAL(nrt_sys_trace_buffer_free, void(char*));
  // What the emulator alone has.
  OPTIONAL(nkipy_emulator_last_error, const char*());

  VERSION_3(nrta_execute_schedule, int(nrt_model_t*, const nrt_tensor_set_t*,
                                       nrt_tensor_set_t*, int, int*, nrta_seq_t*));
  VERSION_3(nrta_is_completed, int(nrta_seq_t, bool*));
  OPTIONAL(nrta_event_register_seq_id_completion, int(nrta_seq_t, int));
#undef REQUIRED
#undef OPTIONAL
#undef VERSION_3

  /// Whether explicit async execution of the generation that spike knows is there.
  bool has_async() const {
    return nrta_execute_schedule && nrta_is_completed &&
           nrta_event_register_seq_id_completion;
  }
};

}  // namespace spike
