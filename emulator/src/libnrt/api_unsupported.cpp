// What the emulator does not do: each function says so in the log, and in its status.
//
// Devices' addresses, sending between instances, and the callbacks of the vendor's
// collectives library have nothing behind them here. The symbols are there, so that
// whatever links with them loads.
#include "api.h"
#include "nrt/nec.h"
#include "nrt/nrt.h"
#include "nrt/nrt_async_sendrecv.h"
#include "session.h"

namespace emulator {
namespace {

NRT_STATUS unsupported(const char* function, NRT_STATUS status = NRT_FAILURE) noexcept {
  return api_call_any_time(function, [&]() -> NRT_STATUS {
    throw StatusError(status, "the emulator does not support this");
  });
}

/// For functions of the collectives library that return a count or an index.
int unsupported_int(const char* function) noexcept {
  unsupported(function);
  return -1;
}

}  // namespace
}  // namespace emulator

using emulator::unsupported;
using emulator::unsupported_int;

NRT_API NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info*) {
  return unsupported("nrt_set_pool_eng_ucode");
}

NRT_API NRT_STATUS nrt_host_device_id_get(int, uint32_t*) {
  return unsupported("nrt_host_device_id_get");
}

NRT_API NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t*, uint32_t*) {
  return unsupported("nrt_host_device_id_rid_map_get");
}

NRT_API NRT_STATUS nrt_get_hbm_mmap_va(int, int, void**, size_t*) {
  return unsupported("nrt_get_hbm_mmap_va", NRT_INVALID);  // as documented
}

NRT_API NRT_STATUS nrt_get_dmabuf_fd(uint64_t, uint64_t, int*) {
  return unsupported("nrt_get_dmabuf_fd");
}

NRT_API NRT_STATUS nrt_get_dmabuf_fd_v2(uint64_t, uint64_t, int*, uint64_t*) {
  return unsupported("nrt_get_dmabuf_fd_v2");
}

NRT_API NRT_STATUS nrt_get_attached_efa_bdf(const void*, char*, size_t*) {
  return unsupported("nrt_get_attached_efa_bdf");
}

// --- Sending and receiving between instances --------------------------------------

NRT_API NRT_STATUS nrt_async_sendrecv_get_max_num_communicators_per_lnc(int*) {
  return unsupported("nrt_async_sendrecv_get_max_num_communicators_per_lnc");
}

NRT_API NRT_STATUS nrt_async_sendrecv_get_max_num_pending_request(int*) {
  return unsupported("nrt_async_sendrecv_get_max_num_pending_request");
}

NRT_API NRT_STATUS nrt_async_sendrecv_init(int) {
  return unsupported("nrt_async_sendrecv_init");
}

NRT_API NRT_STATUS nrt_async_sendrecv_close(int) {
  return unsupported("nrt_async_sendrecv_close");
}

NRT_API NRT_STATUS nrt_async_sendrecv_connect(const char*, int, int,
                                              nrt_async_sendrecv_comm_t**) {
  return unsupported("nrt_async_sendrecv_connect");
}

NRT_API NRT_STATUS nrt_async_sendrecv_accept(const char*, int, int,
                                             nrt_async_sendrecv_comm_t**) {
  return unsupported("nrt_async_sendrecv_accept");
}

NRT_API NRT_STATUS nrt_async_sendrecv_test_comm(nrt_async_sendrecv_comm_t*, bool*) {
  return unsupported("nrt_async_sendrecv_test_comm");
}

NRT_API NRT_STATUS nrt_async_sendrecv_send_tensor(nrt_tensor_t*, size_t, size_t,
                                                  nrt_async_sendrecv_comm_t*,
                                                  nrt_async_sendrecv_request_t**) {
  return unsupported("nrt_async_sendrecv_send_tensor");
}

NRT_API NRT_STATUS nrt_async_sendrecv_recv_tensor(nrt_tensor_t*, size_t, size_t,
                                                  nrt_async_sendrecv_comm_t*,
                                                  nrt_async_sendrecv_request_t**) {
  return unsupported("nrt_async_sendrecv_recv_tensor");
}

NRT_API NRT_STATUS nrt_async_sendrecv_test_request(nrt_async_sendrecv_request_t*, bool*,
                                                   size_t*) {
  return unsupported("nrt_async_sendrecv_test_request");
}

NRT_API NRT_STATUS nrt_async_sendrecv_flush(int) {
  return unsupported("nrt_async_sendrecv_flush");
}

// --- Of the asynchronous interface before NRT_3.0.0 --------------------------------

// Its header is gone; old programs find the names, and a status.
NRT_API NRT_STATUS nrta_get_completion_handle(uint64_t, int*) {
  return unsupported("nrta_get_completion_handle");
}

NRT_API NRT_STATUS nrta_error_tracker_create(uint32_t, void**) {
  return unsupported("nrta_error_tracker_create");
}

NRT_API void nrta_error_tracker_destroy(void*) {}

NRT_API NRT_STATUS nrta_error_tracker_get_list(void*, const void**, size_t*) {
  return unsupported("nrta_error_tracker_get_list");
}

// --- Callbacks of the vendor's collectives library ---------------------------------

NRT_API NRT_STATUS nec_get_virtual_core_size(uint32_t* size) {
  return emulator::api_call("nec_get_virtual_core_size",
                            [&](emulator::Session& session) {
                              emulator::require(size, "the result's address is NULL");
                              *size = session.topology().logical_core_size();
                              return NRT_SUCCESS;
                            });
}

NRT_API NRT_STATUS nec_get_version_info(nec_version_info_t* info) {
  return emulator::api_call_any_time("nec_get_version_info", [&] {
    emulator::require(info, "the result's address is NULL");
    nrt_version_t version{};
    const NRT_STATUS status = nrt_get_version(&version, sizeof version);
    if (status != NRT_SUCCESS) return status;
    *info = {version.rt_major,
             version.rt_minor,
             version.rt_patch,
             version.rt_maintenance,
             "",
             0};
    return NRT_SUCCESS;
  });
}

#define EMULATOR_NO_NEC(name) \
  NRT_API int name(void) { return unsupported_int(#name); }

EMULATOR_NO_NEC(nec_build_port_and_rid_map)
EMULATOR_NO_NEC(nec_get_device_count)
EMULATOR_NO_NEC(nec_get_device_pci_bdf)
EMULATOR_NO_NEC(nec_get_dynamic_recv_offset_bytes)
EMULATOR_NO_NEC(nec_get_dynamic_recv_size_bytes)
EMULATOR_NO_NEC(nec_get_dynamic_send_offset_bytes)
EMULATOR_NO_NEC(nec_get_dynamic_send_size_bytes)
EMULATOR_NO_NEC(nec_get_p2p_pod_peer_node)
EMULATOR_NO_NEC(nec_get_peer_mla_idx)
EMULATOR_NO_NEC(nec_inc_semaphore)
EMULATOR_NO_NEC(nec_mla_idx_to_rid)
EMULATOR_NO_NEC(nec_ndl_printk)
EMULATOR_NO_NEC(nec_rid_to_mla_idx)
EMULATOR_NO_NEC(nec_set_recv_size_bytes)

// Of these two, callers look at the truth of the result.
NRT_API bool nec_is_mla_available(void) {
  unsupported("nec_is_mla_available");
  return false;
}

NRT_API bool nec_pod_node_can_access_peer_node(void) {
  unsupported("nec_pod_node_can_access_peer_node");
  return false;
}
