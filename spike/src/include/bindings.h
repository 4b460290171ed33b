// What the files of the extension module share. They convert the same types in the same
// way, so the conversions are here too.
#pragma once

#include <cxxabi.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <limits>

#include "prepared_call.h"
#include "spike.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace spike {

/// The libnrt that is used, loaded if it is not. Throws SpikeError if there is none.
std::shared_ptr<const NrtApi> library();
/// A lease of the open runtime; opens spike's own if none is.
NrtRuntime::Lease open_runtime();
void close_runtime();

/// Does what may take Python's lock. Before 3.14, Python ends a thread that asks for
/// the lock of an interpreter that has ended, by unwinding its stack, which would take
/// destructors along and abort the process: such a thread stops here for good. What is
/// thrown then has no object, which sanitizers object to.
template <class Action>
__attribute__((no_sanitize("null"))) auto or_stop(Action action) {
  try {
    return action();
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
}

/// An argument of any kind, for the callee to convert: the int that it is to be.
using Int = nb::typed<nb::object, int>;

/// Python's str.format.
template <class... Arguments>
nb::str formatted(const char* text, const Arguments&... arguments) {
  return nb::str(nb::str(text).format(arguments...));
}

/// The number of an argument. Throws ValueError or TypeError that says which argument
/// is wrong, and how, as nanobind's own refusal does not.
template <class Number>
Number integer(const char* name, nb::handle value) {
  Number number;
  if (nb::try_cast(value, number)) return number;
  using Limits = std::numeric_limits<Number>;
  nb::str text = formatted("{}: expected an int from {} to {}, got {!r}", name,
                           Limits::min(), Limits::max(), value);
  if (PyIndex_Check(value.ptr())) throw nb::value_error(text.c_str());
  throw nb::type_error(text.c_str());
}

/// Bytes for a call of libnrt to fill.
inline nb::bytes bytes_of_size(size_t size) {
  auto bytes = nb::steal<nb::bytes>(PyBytes_FromStringAndSize(nullptr, size));
  if (!bytes.is_valid()) nb::raise_python_error();
  return bytes;
}

using Tensors = nb::typed<nb::dict, nb::str, NrtTensor>;
/// The tensors of a dict, by name, kept. Throws SpikeError for one that is freed.
NamedTensors pin_all(nb::dict tensors);

void define_library(nb::module_& m);
void define_calls(nb::module_& m, nb::class_<NrtModel>& model,
                  nb::class_<Spike>& spike);
void define_ranks(nb::class_<Spike>& spike);
void define_trace(nb::module_& m);
void define_c_interface(nb::module_& m);

}  // namespace spike
