// What the files of the extension module share.
#pragma once

#include <nanobind/nanobind.h>

#include "prepared_call.h"
#include "spike.h"

namespace spike {

/// The libnrt that is used, loaded if it is not. Throws SpikeError if there is none.
std::shared_ptr<const NrtApi> library();
/// A lease of the open runtime; opens spike's own if none is.
NrtRuntime::Lease open_runtime();
void close_runtime();

/// An argument of any kind, for the callee to convert: the int that it is to be.
using Int = nanobind::typed<nanobind::object, int>;
using Tensors = nanobind::typed<nanobind::dict, nanobind::str, NrtTensor>;
/// The tensors of a dict, by name, kept. Throws SpikeError for one that is freed.
NamedTensors pin_all(nanobind::dict tensors);

void define_library(nanobind::module_& m);
void define_call_memory(nanobind::module_& m);
void define_calls(nanobind::module_& m, nanobind::class_<NrtModel>& model,
                  nanobind::class_<Spike>& spike);
void define_trace(nanobind::module_& m);
void define_c_interface(nanobind::module_& m);

}  // namespace spike
