// The parts of the extension module that have files of their own.
#pragma once

#include <nanobind/nanobind.h>

namespace spike {

void define_call_memory(nanobind::module_& m);
void define_trace(nanobind::module_& m);

}  // namespace spike
