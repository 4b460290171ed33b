// Entry points: synchronous execution, and what is left of the implicit asynchronous
// mode.
#include "api.h"
#include "async_callback.h"
#include "engine_interpreter.h"
#include "execute.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator {
namespace {

NRT_STATUS execute(const char* function, nrt_model_t* model,
                   const nrt_tensor_set_t* inputs, nrt_tensor_set_t* outputs,
                   int times) {
  return api_call(function, [&](Session& session) {
    require(times >= 1, "the repeat count must be at least 1");
    auto loaded = session.models.get(model);
    const trace::Scope scope(trace::EventType::nrt_execute, loaded->core());
    const auto input_set = session.tensor_sets.get(inputs);
    const auto output_set = session.tensor_sets.get(outputs);
    const InterpreterPause pause;
    const auto execution = std::make_shared<Execution>(session, std::move(loaded),
                                                       *input_set, *output_set);
    execution->run(times);
    return NRT_SUCCESS;
  });
}

void drain_core(Core& core) { core.queues.queue(NRTA_XU_COMPUTE, 0).drain(); }

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* inputs,
                               nrt_tensor_set_t* outputs) {
  return execute("nrt_execute", model, inputs, outputs, 1);
}

NRT_API NRT_STATUS nrt_execute_repeat(nrt_model_t* model,
                                      const nrt_tensor_set_t* inputs,
                                      nrt_tensor_set_t* outputs, int repeat_count) {
  return execute("nrt_execute_repeat", model, inputs, outputs, repeat_count);
}

NRT_API NRT_STATUS nrt_register_async_exec_callback(
    NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params) {
  return api_call_any_time("nrt_register_async_exec_callback", [&] {
    set_execution_callback(callback, params);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc) {
  return api_call("nrt_async_drain_queued_execs", [&](Session& session) {
    if (vnc != -1) {
      drain_core(session.core(vnc));
    } else {
      for (int i = 0; i < session.core_count(); ++i) drain_core(session.core(i));
    }
    return NRT_SUCCESS;
  });
}
