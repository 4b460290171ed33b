// Calls that are made ready once, as Python sees them.

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace spike {
namespace {

PreparedCall prepare(const NrtModel& model, Tensors inputs, Tensors outputs,
                     const std::vector<const NrtTensor*>& others) {
  NamedTensors input_pins = pin_all(inputs), output_pins = pin_all(outputs);
  std::vector<TensorPin> other_pins;
  for (auto* tensor : others)
    other_pins.push_back(tensor->pin("Unable to execute with a freed tensor"));
  return {model, input_pins, output_pins, other_pins};
}

PreparedCall with_outputs(const PreparedCall& call, Tensors outputs) {
  return call.with_outputs(call.pin(), pin_all(outputs));
}

nb::object benchmark(const PreparedCall& call, int warmup, int iterations) {
  check_iterations(warmup, iterations);
  return benchmark_result(call.benchmark(warmup, iterations), warmup);
}

bool is_valid(const PreparedCall& call) {
  PreparedCall::Pins pins;
  return call.try_pin(pins);
}

}  // namespace

void define_calls(nb::module_& m, nb::class_<NrtModel>& model) {
  nb::class_<PreparedCall> call(m, "PreparedCall",
                                "A call made ready once. It keeps neither model nor "
                                "tensors.\n\n"
                                "Its methods raise SpikeError once one of them is "
                                "gone.");
  call.def("execute", [](const PreparedCall& self) { self.execute(); })
      .def("profile", &PreparedCall::profile, "ntff_name"_a,
           "Execute, and write a profile to the file.")
      .def("benchmark", benchmark, "warmup_iterations"_a = 1,
           "benchmark_iterations"_a = 1,
           nb::sig("def benchmark(self, warmup_iterations: int = 1, "
                   "benchmark_iterations: int = 1) -> spike.benchmark.BenchmarkResult"))
      .def("with_outputs", with_outputs, "outputs"_a,
           "The same call with other outputs; quicker than preparing it anew.")
      .def_prop_ro("is_valid", is_valid);
  define_async(m, call);
  model.def(
      "prepare", prepare, "inputs"_a, "outputs"_a,
      "others"_a = std::vector<const NrtTensor*>(),
      nb::sig("def prepare(self, inputs: dict[str, NrtTensor], outputs: dict[str, "
              "NrtTensor], others: collections.abc.Sequence[NrtTensor] = ()) -> "
              "PreparedCall"),
      "Make a call ready that is to be executed often.\n\n"
      "It is invalid once one of `others` is freed, too.");
}

}  // namespace spike
