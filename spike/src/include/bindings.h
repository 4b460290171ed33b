// What the files of the extension module share.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>

#include "model.h"

namespace spike {

/// The libnrt that is used, loaded if it is not. Throws SpikeError if there is none.
std::shared_ptr<const NrtApi> library();
/// A lease of the open runtime; opens spike's own if none is.
NrtRuntime::Lease open_runtime();

void define_library(nanobind::module_& m);
void define_async(nanobind::module_& m, nanobind::class_<PreparedCall>& call);
void define_call_memory(nanobind::module_& m);
void define_trace(nanobind::module_& m);
void define_c_interface(nanobind::module_& m);

}  // namespace spike
