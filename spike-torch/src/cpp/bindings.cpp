// What Python calls. Tensors come as addresses of their memory.

#include "programs.h"
// Comes first, as torch's and Python's own headers are to.

#include <stdexcept>

#include "arrays.h"
#include "eager_programs.h"
#include "fallback.h"
#include "memory.h"
#include "records.h"
#include "registration.h"
#include "runtime.h"

using namespace nanobind::literals;

namespace spike_torch {
namespace {

using c10::DeviceIndex;

// Gives Python's lock up if this thread has it; null if it has not.
void* release_gil() {
  if (!Py_IsInitialized() || !PyGILState_Check()) return nullptr;
  return PyEval_SaveThread();
}

void take_gil(void* state) { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); }

Cast cast_of(const std::string& name) {
  if (name == "lower") return Cast::kLower;
  return name == "widest" ? Cast::kWidest : Cast::kFloat32;
}

Runs runs_of(const std::string& name) {
  if (name == "whole") return Runs::kWhole;
  return name == "refused" ? Runs::kRefused : Runs::kAsTorchHasIt;
}

// By Python's logging.
void log_fallback(const std::string& name) {
  if (!Py_IsInitialized() || _Py_IsFinalizing()) return;
  const nb::gil_scoped_acquire locked;
  try {
    nb::module_::import_("spike_torch.fallback").attr("log_operator")(name);
  } catch (nb::python_error& error) {
    error.discard_as_unraisable("logging an operator that falls back");
  }
}

// By name: host arguments, cast, how it runs, and what it writes to.
using PythonRecords =
    std::map<std::string, std::tuple<std::vector<std::string>, std::string, std::string,
                                     std::vector<std::string>>>;

void register_all(const PythonRecords& given) {
  Records records;
  for (const auto& [name, record] : given) {
    const auto& [host_arguments, cast, runs, writes] = record;
    records[name] = {host_arguments, cast_of(cast), runs_of(runs), writes};
  }
  set_records(std::move(records));
  callers_lock = {release_gil, take_gil};
  const SpikeApi* api = spike_import();
  if (!api) throw nb::python_error();
  set_spike(api);
  memory_is_host();  // raises where there is no libnrt
  register_device();
  register_hooks();
  register_host_results();
  register_fallbacks();
  set_fallback_log(log_fallback);
  register_autocast();
  register_profiling();
  register_refusals();
}

// The tensor of libnrt's at an address, up to the end of what is allocated there, and
// the core.
std::tuple<nb::object, int> nrt_tensor_at(uintptr_t address) {
  const Memory memory = find_memory(address);
  if (!memory.tensor)
    throw std::invalid_argument("no tensor on nkipy is at the address " +
                                std::to_string(address));
  PyObject* made = nullptr;
  SpikeTensor* part = nullptr;
  check(spike().tensor_slice(memory.tensor, memory.offset, memory.size, &part),
        "name a tensor's memory");
  const int status = spike().tensor_to_python(part, &made);
  spike().tensor_release(part);
  check(status, "name a tensor's memory");
  return {nb::steal(made), memory.device};
}

int64_t share_of(nb::handle nrt_tensor) {
  SpikeTensor* share = nullptr;
  check(spike().tensor_from_python(nrt_tensor.ptr(), &share), "attach a tensor");
  return reinterpret_cast<int64_t>(share);
}

const char* name_of(FallbackPolicy policy) {
  const char* names[] = {"log", "warn", "silent", "error"};
  return names[static_cast<int>(policy)];
}

void set_policy(const std::string& name) {
  for (const auto policy : {FallbackPolicy::kLog, FallbackPolicy::kWarn,
                            FallbackPolicy::kSilent, FallbackPolicy::kError}) {
    if (name == name_of(policy)) return set_fallback_policy(policy);
  }
  throw std::invalid_argument("no way to fall back: '" + name + "'");
}

const char* name_of(ExecutionMode mode) {
  const char* names[] = {"fallback", "device", "auto"};
  return names[static_cast<int>(mode)];
}

void set_mode(const std::string& name) {
  for (const auto mode :
       {ExecutionMode::kFallback, ExecutionMode::kDevice, ExecutionMode::kAuto}) {
    if (name == name_of(mode)) return set_execution_mode(mode);
  }
  throw std::invalid_argument("no way to execute: '" + name + "'");
}

size_t trim(int64_t device, size_t target) {
  return pool_of(checked_index(device)).trim(target);
}

void set_limit(int64_t device, std::optional<size_t> bytes) {
  pool_of(checked_index(device)).set_limit(bytes);
}

size_t cached_blocks() {
  size_t found = 0;
  for (Pool* pool : used_pools()) found += pool->free_blocks();
  return found;
}

nb::list snapshot() {
  nb::list segments;
  for (Pool* pool : used_pools()) {
    for (const auto& segment : pool->snapshot()) {
      nb::list blocks;
      for (const auto& block : segment.blocks) {
        nb::dict one;
        one["size"] = block.size;
        one["requested_size"] = block.requested_size;
        one["state"] = block.allocated ? "active_allocated" : "inactive";
        blocks.append(one);
      }
      nb::dict one;
      one["device"] = static_cast<int>(segment.device);
      one["address"] = segment.address;
      one["total_size"] = segment.total_size;
      one["allocated_size"] = segment.allocated_size;
      one["active_size"] = segment.active_size;
      one["requested_size"] = segment.requested_size;
      one["segment_type"] = segment.is_large ? "large" : "small";
      one["blocks"] = blocks;
      segments.append(one);
    }
  }
  return segments;
}

// Who waits for numbers that are being drawn has given up Python's lock.
template <class Do>
auto locked(int64_t device, Do act) {
  const nb::gil_scoped_release released;
  at::Generator generator = default_generator(checked_index(device));
  std::lock_guard lock(generator.mutex());
  return act(generator);
}

// Python's exception for one of torch's, as torch's own functions have them.
void translate(const std::exception_ptr& pointer, void*) {
  const auto raise = [](nb::handle type, const c10::Error& error) {
    PyErr_SetString(type.ptr(), error.what_without_backtrace());
  };
  try {
    std::rethrow_exception(pointer);
  } catch (const c10::OutOfMemoryError& error) {
    raise(nb::module_::import_("torch").attr("OutOfMemoryError"), error);
  } catch (const c10::ValueError& error) {
    raise(PyExc_ValueError, error);
  } catch (const c10::TypeError& error) {
    raise(PyExc_TypeError, error);
  } catch (const c10::NotImplementedError& error) {
    raise(PyExc_NotImplementedError, error);
  } catch (const c10::Error& error) {
    raise(PyExc_RuntimeError, error);
  }
}

}  // namespace

NB_MODULE(_C, m) {
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  m.def("register", register_all, "records"_a);
  m.def("device_count", [] { return static_cast<int>(device_count()); });
  m.def("current_device", [] { return static_cast<int>(current_device()); });
  m.def("checked",
        [](int64_t device) { return static_cast<int>(checked_index(device)); });
  m.def("exchange_device", [](int64_t device) {
    if (device < 0) return static_cast<int>(current_device());
    return static_cast<int>(exchange_device(checked_index(device)));
  });
  m.def("is_forked", is_forked);
  m.def("is_open", [] { return spike().state() == SPIKE_OPEN; });
  m.def("open", [] { check(spike().open(), "open the runtime"); });
  m.def("has_access", has_access);
  m.def("wait_for_autograd", wait_for_autograd,
        nb::call_guard<nb::gil_scoped_release>());
  m.def("memory_is_host", memory_is_host);
  m.def("reach_by_transfers", set_reach_by_transfers, "reach"_a);

  m.def("nrt_tensor_at", nrt_tensor_at, "address"_a);
  m.def("share_of", share_of, "nrt_tensor"_a);
  m.def(
      "speak_protocol",
      [](nb::handle tensor_type, nb::handle make) {
        if (!speak_protocol(tensor_type.ptr(), make.ptr())) throw nb::python_error();
      },
      "tensor_type"_a, "make"_a);

  m.def("trim", trim, "device"_a, "target"_a);
  m.def("set_limit", set_limit, "device"_a, "bytes"_a.none());
  m.def("cached_blocks", cached_blocks);
  m.def("snapshot", snapshot);

  m.def("manual_seed", [](int64_t device, uint64_t seed) {
    locked(device, [&](at::Generator& own) { own.set_current_seed(seed); });
  });
  m.def("seed", [](int64_t device) {
    return locked(device, [](at::Generator& own) { return own.seed(); });
  });
  m.def("initial_seed", [](int64_t device) {
    return locked(device, [](at::Generator& own) { return own.current_seed(); });
  });

  m.def("fallback_policy", [] { return name_of(fallback_policy()); });
  m.def("set_fallback_policy", set_policy, "policy"_a);
  m.def("fallback_counts", fallback_counts);
  m.def("reset_fallback_counts", reset_fallback_counts);
  m.def("execution", [] { return name_of(execution_mode()); });
  m.def("set_execution", set_mode, "mode"_a);
  m.def("program_counts", program_counts);
  m.def("reset_program_counts", reset_program_counts);
  m.def("known_calls", known_calls);
  m.def("forget_calls", forget_calls);
  define_programs(m);
}

}  // namespace spike_torch
