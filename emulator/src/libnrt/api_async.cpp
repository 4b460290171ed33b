// Entry points: explicit asynchronous requests (nrta_*), since version NRT_3.0.0.
#include <cstring>
#include <memory>

#include "api.h"
#include "async_callback.h"
#include "async_queue.h"
#include "execute.h"
#include "inject.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator {
namespace {

// Runs on a queue's thread, where nothing may escape.
template <typename Body>
NRT_STATUS perform(const char* function, const char* injection, Body&& body) noexcept {
  const NRT_STATUS failure = injected(injection);
  if (failure != NRT_SUCCESS) return failure;
  try {
    body();
    return NRT_SUCCESS;
  } catch (...) {
    return status_of_current_exception(function);
  }
}

// Bytes to be moved by a request, which keeps both tensors' memory.
struct Move {
  TensorView from_tensor, to_tensor;
  const void* from;
  void* to;
  std::size_t size;
};

TensorView part_on_core(Session& session, const nrt_tensor_t* handle, int lnc,
                        std::uint64_t offset, std::uint64_t size) {
  const auto tensor = session.tensors.get(handle);
  TensorView part = tensor->view().part(offset, size);
  if (part.storage->on_device() && part.storage->core() != lnc) {
    throw StatusError(NRT_INVALID,
                      "the tensor is on core " + std::to_string(part.storage->core()) +
                          ", and the request for core " + std::to_string(lnc));
  }
  return part;
}

RequestQueue::Work move_work(const char* function, Move move) {
  auto uses = std::make_shared<std::vector<PendingUse>>();
  const auto mark = [&uses](const TensorView& view, Use use) {
    if (view.storage) uses->emplace_back(view.storage->uses(), use);
  };
  mark(move.from_tensor, Use::reads);
  mark(move.to_tensor, Use::writes);
  return [function, move = std::move(move), uses] {
    return perform(function, "nrta_tensor.completion", [&move] {
      if (move.size != 0) std::memmove(move.to, move.from, move.size);
    });
  };
}

NRT_STATUS submit(Session& session, RequestQueue& queue, NRT_STATUS* status,
                  nrta_seq_t* sequence, const std::function<RequestQueue::Work()>& make,
                  RequestQueue::Observer observer = nullptr) {
  require(sequence != nullptr, "the address for the sequence is NULL");
  *sequence = queue.submit(session, make, status, std::move(observer));
  return NRT_SUCCESS;
}

RequestQueue& tensor_queue(Session& session, int lnc, int queue) {
  return session.core(lnc).queues.queue(NRTA_XU_TENSOR_OP, queue);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrta_tensor_write(nrt_tensor_t* tensor, const void* buffer,
                                     uint64_t offset, uint64_t size, int lnc, int queue,
                                     NRT_STATUS* status, nrta_seq_t* sequence) {
  return api_call("nrta_tensor_write", [&](Session& session) {
    require(buffer != nullptr || size == 0, "the buffer is NULL");
    return submit(session, tensor_queue(session, lnc, queue), status, sequence, [&] {
      TensorView to = part_on_core(session, tensor, lnc, offset, size);
      void* data = to.data();
      return move_work("nrta_tensor_write", {{}, std::move(to), buffer, data, size});
    });
  });
}

NRT_API NRT_STATUS nrta_tensor_read(void* buffer, nrt_tensor_t* tensor, uint64_t offset,
                                    uint64_t size, int lnc, int queue,
                                    NRT_STATUS* status, nrta_seq_t* sequence) {
  return api_call("nrta_tensor_read", [&](Session& session) {
    require(buffer != nullptr || size == 0, "the buffer is NULL");
    return submit(session, tensor_queue(session, lnc, queue), status, sequence, [&] {
      TensorView from = part_on_core(session, tensor, lnc, offset, size);
      const void* data = from.data();
      return move_work("nrta_tensor_read", {std::move(from), {}, data, buffer, size});
    });
  });
}

NRT_API NRT_STATUS nrta_tensor_copy(nrt_tensor_t* source, uint64_t source_offset,
                                    nrt_tensor_t* destination,
                                    uint64_t destination_offset, uint64_t size, int lnc,
                                    int queue, NRT_STATUS* status,
                                    nrta_seq_t* sequence) {
  return api_call("nrta_tensor_copy", [&](Session& session) {
    return submit(session, tensor_queue(session, lnc, queue), status, sequence, [&] {
      TensorView from = part_on_core(session, source, lnc, source_offset, size);
      TensorView to = part_on_core(session, destination, lnc, destination_offset, size);
      const void* from_data = from.data();
      void* to_data = to.data();
      return move_work("nrta_tensor_copy",
                       {std::move(from), std::move(to), from_data, to_data, size});
    });
  });
}

NRT_API NRT_STATUS nrta_execute_schedule(nrt_model_t* model,
                                         const nrt_tensor_set_t* inputs,
                                         nrt_tensor_set_t* outputs, int queue,
                                         NRT_STATUS* status, nrta_seq_t* sequence) {
  return api_call("nrta_execute_schedule", [&](Session& session) {
    const auto loaded = session.models.get(model);
    const int core = loaded->core();
    const trace::Scope scope(trace::EventType::model_submit, core);
    const auto make = [&]() -> RequestQueue::Work {
      auto execution =
          std::make_shared<Execution>(session, loaded, *session.tensor_sets.get(inputs),
                                      *session.tensor_sets.get(outputs));
      return [execution] {
        return perform("nrta_execute_schedule", "nrta_execute_schedule.completion",
                       [&] { execution->run(); });
      };
    };
    const auto tell = [id = loaded->id(), core](nrta_seq_t done, NRT_STATUS result) {
      call_execution_callback(id, core, done, result);
    };
    return submit(session, session.core(core).queues.queue(NRTA_XU_COMPUTE, queue),
                  status, sequence, make, tell);
  });
}

NRT_API NRT_STATUS nrta_is_completed(nrta_seq_t sequence, bool* completed) {
  return api_call("nrta_is_completed", [&](Session& session) {
    require(completed != nullptr, "the address for the answer is NULL");
    *completed = queue_of_sequence(session, sequence).is_completed(number_of(sequence));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue,
                                     nrta_seq_t* sequence) {
  return api_call("nrta_get_sequence", [&](Session& session) {
    require(sequence != nullptr, "the address for the sequence is NULL");
    *sequence = session.core(lnc).queues.queue(xu, queue).last_completed();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrta_event_register_seq_id_completion(nrta_seq_t sequence,
                                                         int event_fd) {
  return api_call("nrta_event_register_seq_id_completion", [&](Session& session) {
    queue_of_sequence(session, sequence).notify(number_of(sequence), event_fd);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrta_event_register_xu_completion(int lnc, nrta_xu_t xu, int queue,
                                                     int event_fd) {
  return api_call("nrta_event_register_xu_completion", [&](Session& session) {
    session.core(lnc).queues.queue(xu, queue).notify_all(event_fd);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t*, nrt_tensor_list_t*,
                                   nrt_tensor_list_t*, nrt_dtype_t, nrt_op_type_t,
                                   nrt_cc_op_type_t, nrt_cc_context_t**) {
  return api_call("nrta_cc_prepare", [](Session&) -> NRT_STATUS {
    throw StatusError(NRT_FAILURE,
                      "the emulator has no collectives outside of programs");
  });
}

NRT_API NRT_STATUS nrta_cc_schedule(nrt_cc_context_t**, int, NRT_STATUS*, nrta_seq_t*) {
  return api_call("nrta_cc_schedule", [](Session&) -> NRT_STATUS {
    throw StatusError(NRT_FAILURE,
                      "the emulator has no collectives outside of programs");
  });
}
