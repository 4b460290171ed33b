// The nanobind extension module. It carries its version and no runtime yet.

#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_spike, m) {
  m.doc() = "C++ half of spike.";
  m.attr("__version__") = SPIKE_VERSION;
}
