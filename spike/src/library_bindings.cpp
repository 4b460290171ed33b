// Which libnrt is used, and Python's lock.

#include "bindings.h"

namespace spike {
namespace {

void* release_gil() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }

void take_gil(void* thread_state) {
  or_stop([=] { PyEval_RestoreThread(static_cast<PyThreadState*>(thread_state)); });
}

// Lets Python's handlers of signals run, of which one may raise.
void check_interrupt() {
  if (PyGILState_Check() && PyErr_CheckSignals() != 0) nb::raise_python_error();
}

// Never destroyed, as what uses it may live until the process ends.
std::shared_ptr<const NrtApi>& chosen_library() {
  static auto* chosen = new std::shared_ptr<const NrtApi>;
  return *chosen;
}

void load_library(const std::optional<std::string>& path) {
  chosen_library() = path ? std::make_shared<const NrtApi>(*path) : nullptr;
}

void close_at_exit() {
  if (auto runtime = NrtRuntime::active()) runtime->close_at_exit();
}

}  // namespace

std::shared_ptr<const NrtApi> library() {
  auto& chosen = chosen_library();
  if (!chosen) {
    nb::object located = nb::module_::import_("spike.library").attr("locate")();
    load_library(nb::cast<std::string>(located.attr("path")));
  }
  return chosen;
}

void close_runtime() {
  if (auto runtime = NrtRuntime::active()) runtime->close();
}

NrtRuntime::Lease open_runtime() {
  NrtRuntime::Lease runtime = NrtRuntime::active();
  if (!runtime) {
    nb::module_::import_("spike.spike_singleton").attr("get_spike_singleton")();
    runtime = NrtRuntime::active();
  }
  if (!runtime) throw SpikeError("The runtime was closed as soon as it was opened.");
  return runtime;
}

void define_library(nb::module_& m) {
  callers_lock = {release_gil, take_gil, check_interrupt};
  m.def("load_library", load_library, "path"_a = nb::none(),
        "Use this libnrt from now on; without a path, look for one again.\n\n"
        "What is open keeps the one that it has.");
  m.def(
      "library_handle", [] { return library()->handle(); },
      "dlopen's handle of the libnrt in use.");
  m.def("close_runtime", close_runtime, "Close the runtime, if one is open.");
  m.def(
      "has_native_async", [] { return library()->has_async(); },
      "Whether libnrt executes asynchronously itself.");
  // While Python still works: executions that are to end may need it.
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(close_at_exit));
}

}  // namespace spike
