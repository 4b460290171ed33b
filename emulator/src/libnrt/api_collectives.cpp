// Collectives of the host. One process with one rank needs no partner; more ranks are
// not emulated yet, and say so.
#include <cstdio>
#include <cstring>

#include "api.h"
#include "session.h"

namespace emulator {
namespace {

/// Checks the arguments that all of these share. `vnc` -1 stands for any core.
void check_ranks(const Session& session, std::int64_t vnc, std::uint32_t rank,
                 std::uint32_t count) {
  if (vnc != -1) session.core(vnc);
  require(count > 0 && rank < count, "the rank is not below the number of ranks");
  if (count == 1) return;
  throw StatusError(NRT_FAILURE, "the emulator does not support communication among " +
                                     std::to_string(count) + " ranks");
}

NRT_STATUS meet(const char* function, std::int64_t vnc, std::uint32_t rank,
                std::uint32_t count) {
  return api_call(function, [&](Session& session) {
    check_ranks(session, vnc, rank, count);
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
    check_ranks(session, vnc, g_device_id, g_device_count);
    require((input && output) || rank_input_size == 0, "a buffer is NULL");
    if (rank_input_size > 0) std::memmove(output, input, rank_input_size);
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
