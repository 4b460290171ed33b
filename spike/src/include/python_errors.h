// Python's view of spike's exceptions.
#pragma once

#include <nanobind/nanobind.h>

namespace spike {

/// Adds the exception classes to the module, and turns C++ exceptions into them.
void define_errors(nanobind::module_& m);

/// A SpikeError with `text` and, as its cause, the Python exception that is raised.
[[noreturn]] void raise_from_python_error(const char* text);

}  // namespace spike
