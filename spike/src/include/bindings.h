// What the files of the extension module share.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>

#include "prepared_call.h"
#include "spike.h"

namespace spike {

/// The libnrt that is used, loaded if it is not. Throws SpikeError if there is none.
std::shared_ptr<const NrtApi> library();
/// A lease of the open runtime; opens spike's own if none is.
NrtRuntime::Lease open_runtime();

using Tensors = nanobind::typed<nanobind::dict, nanobind::str, NrtTensor>;
/// The tensors of a dict, by name, kept. Throws SpikeError for one that is freed.
NamedTensors pin_all(nanobind::dict tensors);
/// Throws ValueError for numbers of iterations that cannot be.
void check_iterations(int warmup, int iterations);
/// Milliseconds that executions took, as a spike.benchmark.BenchmarkResult.
nanobind::object benchmark_result(const std::vector<double>& durations, int warmup);

void define_library(nanobind::module_& m);
void define_calls(nanobind::module_& m, nanobind::class_<NrtModel>& model);
void define_async(nanobind::module_& m, nanobind::class_<PreparedCall>& call);
void define_async_of_spike(nanobind::class_<Spike>& spike);
void define_call_memory(nanobind::module_& m);
void define_trace(nanobind::module_& m);
void define_c_interface(nanobind::module_& m);

}  // namespace spike
