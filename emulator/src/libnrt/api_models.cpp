// Entry points: models.
#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "api.h"
#include "engine_interpreter.h"
#include "model.h"
#include "model_load.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator {
namespace {

nrt_dtype_t dtype_code(const std::string& name) {
  // As the real runtime reports them: bool as bytes, 8-bit floats as integers.
  static const std::pair<const char*, nrt_dtype_t> kCodes[] = {
      {"float32", NRT_DTYPE_FLOAT32}, {"bfloat16", NRT_DTYPE_BFLOAT16},
      {"float16", NRT_DTYPE_FLOAT16}, {"int64", NRT_DTYPE_INT64},
      {"int32", NRT_DTYPE_INT32},     {"int16", NRT_DTYPE_INT16},
      {"int8", NRT_DTYPE_INT8},       {"uint64", NRT_DTYPE_UINT64},
      {"uint32", NRT_DTYPE_UINT32},   {"uint16", NRT_DTYPE_UINT16},
      {"uint8", NRT_DTYPE_UINT8},     {"bool", NRT_DTYPE_UINT8}};
  for (const auto& [known, code] : kCodes) {
    if (name == known) return code;
  }
  return name.rfind("float8_", 0) == 0 ? NRT_DTYPE_INT8 : NRT_DTYPE_UNKNOWN;
}

void* allocate_or_throw(std::size_t count, std::size_t size) {
  // Never zero bytes: null would look like a failure.
  void* memory = std::calloc(std::max<std::size_t>(count, 1), size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void fill_info(nrt_tensor_info_t* info, const TensorSpec& spec,
               nrt_tensor_usage_t usage) {
  std::snprintf(info->name, sizeof info->name, "%s", spec.name.c_str());
  info->usage = usage;
  info->size = spec.bytes;
  info->dtype = dtype_code(spec.dtype);
  info->ndim = static_cast<std::uint32_t>(spec.shape.size());
  info->shape = static_cast<std::uint32_t*>(
      allocate_or_throw(spec.shape.size(), sizeof(std::uint32_t)));
  std::copy(spec.shape.begin(), spec.shape.end(), info->shape);
}

void free_info(nrt_tensor_info_array_t* info) {
  for (std::uint64_t i = 0; i < info->tensor_count; ++i) {
    std::free(info->tensor_array[i].shape);
  }
  std::free(info);
}

nrt_tensor_info_array_t* make_info(const ProgramDescription& program) {
  const std::size_t count = program.inputs.size() + program.outputs.size();
  auto* info = static_cast<nrt_tensor_info_array_t*>(allocate_or_throw(
      1, sizeof(nrt_tensor_info_array_t) + count * sizeof(nrt_tensor_info_t)));
  info->tensor_count = count;
  try {
    nrt_tensor_info_t* next = info->tensor_array;
    for (const TensorSpec& spec : program.inputs) {
      fill_info(next++, spec, NRT_TENSOR_USAGE_INPUT);
    }
    for (const TensorSpec& spec : program.outputs) {
      fill_info(next++, spec, NRT_TENSOR_USAGE_OUTPUT);
    }
  } catch (...) {
    free_info(info);
    throw;
  }
  return info;
}

// What callers have been given and not given back: nothing else is freed.
class GivenInfos {
 public:
  void add(const nrt_tensor_info_array_t* info) {
    const std::lock_guard<std::mutex> lock(mutex_);
    given_.insert(info);
  }
  // Whether it had been given.
  bool remove(const nrt_tensor_info_array_t* info) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return given_.erase(info) != 0;
  }
  // A fork comes when no other thread is in here, or the child would wait for it.
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
  std::unordered_set<const void*> given_;
};

// Never destroyed: a thread may free one while the process ends.
GivenInfos& given_infos() {
  static auto* const given = new GivenInfos;
  static const int noted =
      pthread_atfork([] { given->before_fork(); }, [] { given->after_fork(); },
                     [] { given->after_fork(); });
  (void)noted;
  return *given;
}

nrt_tensor_info_array_t* give_info(const ProgramDescription& program) {
  auto* info = make_info(program);
  try {
    given_infos().add(info);
  } catch (...) {
    free_info(info);
    throw;
  }
  return info;
}

NRT_STATUS load(const char* function, const LoadRequest& request, nrt_model_t** model) {
  return api_call(function, [&](Session& session) {
    require(model != nullptr, "the address for the model is NULL");
    const InterpreterPause pause;  // compiling needs the lock, on whichever thread
    *model = load_model(session, request);
    return NRT_SUCCESS;
  });
}

NRT_STATUS count_cores(const char* function, const nrt_model_t* model,
                       std::uint32_t* count) {
  return api_call(function, [&](Session& session) {
    require(count != nullptr, "the address for the count is NULL");
    session.models.get(model);
    *count = 1;
    return NRT_SUCCESS;
  });
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_load(const void* neff_bytes, size_t size, int32_t vnc,
                            int32_t vnc_count, nrt_model_t** model) {
  return load("nrt_load", {neff_bytes, size, vnc, vnc_count, 0, 1, false}, model);
}

NRT_API NRT_STATUS nrt_load_collectives(const void* neff_bytes, size_t size,
                                        int32_t vnc, int32_t vnc_count,
                                        uint32_t ctx_device_id,
                                        uint32_t ctx_device_count,
                                        nrt_model_t** model) {
  return load("nrt_load_collectives",
              {neff_bytes, size, vnc, vnc_count, ctx_device_id, ctx_device_count, true},
              model);
}

NRT_API NRT_STATUS nrt_unload(nrt_model_t* model) {
  return api_call("nrt_unload", [&](Session& session) {
    const InterpreterPause pause;  // giving up a program needs the lock
    const auto known = session.models.get(model);
    const trace::Scope scope(trace::EventType::nrt_unload, known->core());
    session.models.take(model);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_model_tensor_info(nrt_model_t* model,
                                             nrt_tensor_info_array_t** info) {
  return api_call("nrt_get_model_tensor_info", [&](Session& session) {
    require(info != nullptr, "the address for the information is NULL");
    *info = give_info(session.models.get(model)->description());
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t* info) {
  return api_call_any_time("nrt_free_model_tensor_info", [&] {
    require(info != nullptr, "the information is NULL");
    require(given_infos().remove(info),
            "the information is none of nrt_get_model_tensor_info's, or freed already");
    free_info(info);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_model_info(const nrt_model_t* model, nrt_model_info_t* info,
                                      size_t info_size_in, size_t* info_size_out) {
  return api_call("nrt_get_model_info", [&](Session& session) {
    require(info != nullptr, "the address for the information is NULL");
    const auto core = static_cast<std::uint32_t>(session.models.get(model)->core());
    const nrt_model_info_t known{core};
    std::memcpy(info, &known, std::min(info_size_in, sizeof known));
    if (info_size_out != nullptr) *info_size_out = std::min(info_size_in, sizeof known);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_model_instance_count(nrt_model_t* model, uint32_t* count) {
  return count_cores("nrt_get_model_instance_count", model, count);
}

NRT_API NRT_STATUS nrt_get_model_nc_count(const nrt_model_t* model, uint32_t* count) {
  return count_cores("nrt_get_model_nc_count", model, count);
}

NRT_API NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t* model, uint32_t* count) {
  return count_cores("nrt_get_model_vnc_count", model, count);
}
