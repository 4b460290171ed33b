// Entry points: the debug stream. See nrt/ndebug_stream.h.
#include "api.h"
#include "debug_stream.h"
#include "nrt/ndebug_stream.h"
#include "session.h"

using namespace emulator;

/// Puts a tensor into a core's debug stream, as a program on the device would. The
/// emulator only: for tests, and for simulated kernels that print.
NRT_API NRT_STATUS nkipy_emulator_debug_tensor(int lnc, const char* prefix,
                                               uint32_t pipe, const char* dtype,
                                               const uint64_t* shape, size_t dimensions,
                                               const void* data, size_t size) {
  return api_call("nkipy_emulator_debug_tensor", [&](Session& session) {
    require(prefix && dtype && (shape || !dimensions) && (data || !size),
            "an address is NULL");
    debug_stream::publish(
        session.core(lnc).index,
        {prefix, pipe, dtype, {shape, shape + dimensions}, data, size});
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_debug_client_connect(int lnc, int* stream_fd) {
  return api_call("nrt_debug_client_connect", [&](Session& session) {
    require(stream_fd, "the address for the descriptor is NULL");
    *stream_fd = debug_stream::connect(session, lnc);
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_debug_client_connect_close(int stream_fd) {
  api_call_any_time("nrt_debug_client_connect_close", [&] {
    debug_stream::disconnect(stream_fd);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_debug_client_read_one_event(int stream_fd,
                                                   ndebug_stream_event_header_t* header,
                                                   void** payload) {
  return api_call("nrt_debug_client_read_one_event", [&](Session&) -> NRT_STATUS {
    require(header && payload, "an address for the result is NULL");
    debug_stream::Event event;
    if (!debug_stream::read(stream_fd, &event)) return NRT_QUEUE_EMPTY;
    *header = {};
    header->type = event.type;
    header->data_size = event.size;
    *payload = event.payload;
    return NRT_SUCCESS;
  });
}
