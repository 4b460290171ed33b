// Asynchronous executions and system traces, as Python sees them.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "async_execution.h"
#include "bindings.h"
#include "system_trace.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace spike {
namespace {

// Python's signal handlers run in between, and one that raises ends the waiting.
void wait(AsyncExecution& execution) {
  while (!execution.wait_for(std::chrono::milliseconds(100)))
    if (PyErr_CheckSignals() != 0) nb::raise_python_error();
  execution.check_result();
}

std::shared_ptr<AsyncExecution> execute_async(const Spike& self, const NrtModel& model,
                                              Tensors inputs, Tensors outputs) {
  return AsyncExecution::start({self.own(model), pin_all(inputs), pin_all(outputs)});
}

void open_session(SystemTraceSession* self, std::optional<uint32_t> core_id) {
  // The session has no lease: with the last tensor the runtime closes, and it stops.
  new (self) SystemTraceSession(open_runtime()->shared_from_this(), core_id);
}

}  // namespace

void define_async(nb::module_& m, nb::class_<PreparedCall>& call) {
  nb::class_<AsyncExecution>(m, "AsyncExecution", "An execution that was submitted.")
      .def_ro("sequence", &AsyncExecution::sequence)
      .def("done", &AsyncExecution::done,
           "Whether it is over. Does not block, and does not raise its error.")
      .def("is_completed", &AsyncExecution::done, "The same as done().")
      .def("wait", wait,
           "Block until it is over. Raises NrtError if it failed, and what a signal's "
           "handler raises meanwhile. Idempotent.");
  call.def("execute_async", AsyncExecution::start);
}

void define_async_of_spike(nb::class_<Spike>& spike) {
  spike.def("execute_async", execute_async, "model"_a, "inputs"_a, "outputs"_a);
}

void define_trace(nb::module_& m) {
  using Session = SystemTraceSession;
  nb::class_<Session>(m, "SystemTraceSession",
                      "Records libnrt's events of one core, or of all, until stopped.")
      .def("__init__", open_session, "core_id"_a = nb::none())
      .def("stop", &Session::stop, "Idempotent.")
      .def("fetch_events_json", &Session::fetch,
           "The events since the last fetch as JSON; empty if there are none.")
      .def("drain_events", &Session::drain, "Take events and drop them.")
      .def("__enter__", [](nb::typed<nb::object, Session> self) { return self; })
      .def(
          "__exit__", [](Session& self, nb::args) { self.stop(); },
          nb::sig("def __exit__(self, *args: object) -> None"));
}

}  // namespace spike
