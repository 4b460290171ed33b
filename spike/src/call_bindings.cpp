// Calls that are made ready once, and asynchronous executions, as Python sees them.

#include "async_execution.h"
#include "bindings.h"

namespace spike {
namespace {

class BenchmarkResult : public nb::object {
  NB_OBJECT(BenchmarkResult, nb::object, "spike.benchmark.BenchmarkResult",
            PyObject_IsTrue)
};

using Recalled = nb::typed<nb::object, std::optional<PreparedCall>>;

PreparedCall prepare(const NrtModel& model, Tensors inputs, Tensors outputs,
                     const std::vector<const NrtTensor*>& others) {
  PinnedCall call = PinnedCall::make(model, pin_all(inputs), pin_all(outputs));
  auto& kept = call.tensors;
  for (auto* tensor : others)
    kept.push_back(tensor->pin("Unable to execute with a freed tensor"));
  std::sort(kept.begin(), kept.end());  // many are among the inputs and outputs
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  return PreparedCall(call);
}

PreparedCall with_outputs(const PreparedCall& prepared, Tensors outputs) {
  PinnedCall call = prepared.pin();
  call.set_outputs(pin_all(outputs));
  return PreparedCall(call);
}

void execute(const PinnedCall& call, const std::optional<std::string>& ntff_name,
             bool save_trace) {
  if (save_trace)
    call.profile(ntff_name.value_or("profile.ntff"));
  else
    call.execute();
}

std::shared_ptr<AsyncExecution> execute_async(const PinnedCall& call) {
  return AsyncExecution::start(call);
}

BenchmarkResult benchmark(const PinnedCall& call, int warmup, int iterations) {
  nb::object result = nb::module_::import_("spike.benchmark").attr("BenchmarkResult");
  return nb::borrow<BenchmarkResult>(
      result.attr("from_durations")(call.benchmark(warmup, iterations), warmup));
}

/// Where the names and tensors of two dicts are, or that one is none: equal for the
/// same tensor objects under the same names, as long as these and the interned names
/// exist.
nb::bytes identity(nb::handle inputs, nb::handle outputs) {
  std::vector<PyObject*> all;
  all.reserve(64);
  for (nb::handle tensors : {inputs, outputs}) {
    Py_ssize_t position = 0;
    PyObject *name, *tensor;
    if (PyDict_Check(tensors.ptr()))
      while (PyDict_Next(tensors.ptr(), &position, &name, &tensor)) {
        Py_INCREF(name);
        PyUnicode_InternInPlace(&name);
        Py_DECREF(name);
        all.push_back(name);
        all.push_back(tensor);
      }
    all.push_back(tensors.type().ptr());
  }
  return nb::bytes(all.data(), all.size() * sizeof(PyObject*));
}

/// The call that is remembered for these arguments, if it can be executed and what may
/// change has not; else None. See spike/call_memory.py.
Recalled recall(nb::dict calls, nb::handle inputs, nb::handle outputs) {
  nb::object found = calls.get(identity(inputs, outputs), nb::none());
  if (found.is_none()) return Recalled(found);
  nb::object call = found[0];
  bool is_same = nb::cast<const PreparedCall&>(call).is_valid();
  for (nb::handle changing : found[1])
    is_same = is_same &&
              changing[0]().attr("__spike_array__")().attr("token").equal(changing[1]);
  return Recalled(is_same ? call : nb::none());
}

/// What does something with a call, as a method of prepared ones.
template <class Result, class... Arguments>
auto of_prepared(Result (*function)(const PinnedCall&, Arguments...)) {
  return [function](const PreparedCall& self, Arguments... arguments) {
    return function(self.pin(), arguments...);
  };
}

/// The same as a method of the Spike that the model is of.
template <class Result, class... Arguments>
auto of_spike(Result (*function)(const PinnedCall&, Arguments...)) {
  return [function](const Spike& self, const NrtModel& model, Tensors inputs,
                    Tensors outputs, Arguments... arguments) {
    return function(self.prepare(model, pin_all(inputs), pin_all(outputs)),
                    arguments...);
  };
}

}  // namespace

void define_calls(nb::module_& m, nb::class_<NrtModel>& model,
                  nb::class_<Spike>& spike) {
  nb::class_<PreparedCall>(m, "PreparedCall",
                           "A call made ready once. It keeps neither model nor "
                           "tensors.\n\n"
                           "Its methods raise SpikeError once one of them is gone.")
      .def("execute", [](const PreparedCall& self) { self.pin().execute(); })
      .def("execute_async", of_prepared(execute_async))
      .def(
          "profile",
          [](const PreparedCall& self, const std::string& ntff_name) {
            self.pin().profile(ntff_name);
          },
          "ntff_name"_a, "Execute, and write a profile to the file.")
      .def("benchmark", of_prepared(benchmark), "warmup_iterations"_a = 1,
           "benchmark_iterations"_a = 1)
      .def("with_outputs", with_outputs, "outputs"_a,
           "The same call with these outputs, for one that was prepared without.")
      .def_prop_ro("is_valid", &PreparedCall::is_valid);
  nb::class_<AsyncExecution>(m, "AsyncExecution", "An execution that was submitted.")
      .def_ro("sequence", &AsyncExecution::sequence)
      .def("done", &AsyncExecution::done,
           "Whether it is over. Does not block, and does not raise its error.")
      .def("is_completed", &AsyncExecution::done, "The same as done().")
      .def(
          "wait", [](AsyncExecution& self) { self.wait(-1); },
          "Block until it is over. Raises NrtError if it failed, and what a signal's "
          "handler raises meanwhile. Idempotent.");
  m.def("identity", identity, nb::arg().none(), nb::arg().none());
  m.def("recall", recall, nb::arg(), nb::arg().none(), nb::arg().none());
  model.def("prepare", prepare, "inputs"_a, "outputs"_a, "others"_a = nb::make_tuple(),
            "Make a call ready that is to be executed often.\n\n"
            "It is invalid once one of `others` is freed, too.");
  spike
      .def("execute", of_spike(execute), "model"_a, "inputs"_a, "outputs"_a,
           "ntff_name"_a = nb::none(), "save_trace"_a = false)
      .def("execute_async", of_spike(execute_async), "model"_a, "inputs"_a, "outputs"_a)
      .def("benchmark", of_spike(benchmark), "model"_a, "inputs"_a, "outputs"_a,
           "warmup_iterations"_a = 1, "benchmark_iterations"_a = 1);
}

}  // namespace spike
