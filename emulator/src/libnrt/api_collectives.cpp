// Collectives of the host.
#include <cstdio>
#include <cstring>

#include "api.h"
#include "engine_interpreter.h"
#include "session.h"

namespace emulator {
namespace {

/// Gives each rank what all have. `vnc` -1 stands for any core.
void all_gather(const char* function, Session& session, std::int64_t vnc,
                std::uint32_t rank, std::uint32_t count, const void* data,
                std::size_t size, void* result) {
  if (vnc != -1) session.core(vnc);
  require(count > 0 && rank < count, "the rank is not below the number of ranks");
  if (count == 1) {
    if (size > 0) std::memmove(result, data, size);
    return;
  }
  const Environment& environment = session.environment();
  require(!environment.root_comm_id.empty(),
          "NEURON_RT_ROOT_COMM_ID has to say where the ranks meet (host:port)");
  const InterpreterPause pause;
  session.engine()->all_gather(
      {function, environment.root_comm_id, rank, count, environment.execution_timeout},
      data, size, result);
}

NRT_STATUS meet(const char* function, std::int64_t vnc, std::uint32_t rank,
                std::uint32_t count) {
  return api_call(function, [&](Session& session) {
    all_gather(function, session, vnc, rank, count, nullptr, 0, nullptr);
    return NRT_SUCCESS;
  });
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id,
                                         uint32_t g_device_count) {
  return meet("nrt_build_global_comm", vnc, g_device_id, g_device_count);
}

NRT_API NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id,
                                           uint32_t g_device_count) {
  return meet("nrt_cc_global_comm_init", vnc, g_device_id, g_device_count);
}

NRT_API NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id,
                               uint32_t g_device_count) {
  return meet("nrt_barrier", vnc, g_device_id, g_device_count);
}

NRT_API NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id,
                                  uint32_t g_device_count, uint32_t rank_input_size,
                                  void* input, void* output) {
  return api_call("nrt_all_gather", [&](Session& session) {
    require((input && output) || rank_input_size == 0, "a buffer is NULL");
    all_gather("nrt_all_gather", session, vnc, g_device_id, g_device_count, input,
               rank_input_size, output);
    return NRT_SUCCESS;
  });
}

NRT_API void* nrt_get_libnccl_net(int* error, char* message, size_t size) {
  if (error) *error = NRT_FAILURE;
  if (message && size > 0) {
    std::snprintf(message, size, "the emulator has no network plug-in");
  }
  return nullptr;
}
