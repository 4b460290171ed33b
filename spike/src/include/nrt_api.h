// The functions of libnrt that spike uses. Nothing links with libnrt: the table of them
// is filled at run time, with the types that libnrt's headers declare.
#pragma once

#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_sys_trace.h>

#include <string>

namespace spike {

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
  /// dlopen's handle of it.
  uintptr_t handle() const { return reinterpret_cast<uintptr_t>(library_); }

#define FUNCTION(name, type, ...) \
  NrtFunction<type> name { #name, find(#name, __VA_ARGS__) }
#define REQUIRED(name) FUNCTION(name, decltype(::name), true)
#define OPTIONAL(name) FUNCTION(name, decltype(::name), false)
// In node NRT_2.0.0 functions of these names take other arguments.
#define VERSION_3(name) FUNCTION(name, decltype(::name), false, "NRT_3.0.0")

  REQUIRED(nrt_init);
  REQUIRED(nrt_close);
  REQUIRED(nrt_get_visible_nc_count);
  REQUIRED(nrt_load);
  REQUIRED(nrt_load_collectives);
  REQUIRED(nrt_unload);
  REQUIRED(nrt_get_model_tensor_info);
  REQUIRED(nrt_free_model_tensor_info);
  REQUIRED(nrt_tensor_allocate);
  REQUIRED(nrt_tensor_allocate_slice);
  REQUIRED(nrt_tensor_free);
  REQUIRED(nrt_tensor_read);
  REQUIRED(nrt_tensor_write);
  REQUIRED(nrt_tensor_get_va);
  REQUIRED(nrt_allocate_tensor_set);
  REQUIRED(nrt_destroy_tensor_set);
  REQUIRED(nrt_add_tensor_to_tensor_set);
  REQUIRED(nrt_execute);

  OPTIONAL(nrt_get_version);
  OPTIONAL(nrt_get_model_info);
  OPTIONAL(nrt_get_vnc_memory_stats);
  OPTIONAL(nrt_barrier);
  OPTIONAL(nrt_all_gather);
  OPTIONAL(nrt_tensor_allocate_empty);
  OPTIONAL(nrt_tensor_attach_buffer);
  OPTIONAL(nrt_tensor_copy);
  OPTIONAL(nrt_tensor_memset);
  OPTIONAL(nrt_profile_start);
  OPTIONAL(nrt_profile_stop);
  OPTIONAL(nrt_sys_trace_config_allocate);
  OPTIONAL(nrt_sys_trace_config_free);
  OPTIONAL(nrt_sys_trace_config_set_capture_enabled_for_nc);
  OPTIONAL(nrt_sys_trace_start);
  OPTIONAL(nrt_sys_trace_stop);
  OPTIONAL(nrt_sys_trace_fetch_options_allocate);
  OPTIONAL(nrt_sys_trace_fetch_options_free);
  OPTIONAL(nrt_sys_trace_fetch_options_set_nc_idx);
  OPTIONAL(nrt_sys_trace_fetch_events);
  OPTIONAL(nrt_sys_trace_buffer_free);
  VERSION_3(nrta_execute_schedule);
  VERSION_3(nrta_is_completed);
  OPTIONAL(nrta_event_register_seq_id_completion);

  // What the emulator alone has. The latter is what a handler of a signal has raised,
  // if this thread's last call that failed was left for that: a new PyObject*, or null.
  FUNCTION(nkipy_emulator_last_error, const char*(), false);
  FUNCTION(nkipy_emulator_take_interrupt, void*(), false);
#undef FUNCTION
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
