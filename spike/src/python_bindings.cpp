// The nanobind extension module: Python's view of spike's C++ classes.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bound_arguments.h"
#include "python_errors.h"
#include "spike.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace spike {
namespace {

using Text = std::optional<std::string>;

// ---- The library --------------------------------------------------------------------

// Never destroyed, as what uses it may live until the process ends.
std::shared_ptr<const NrtApi>& chosen_library() {
  static auto* chosen = new std::shared_ptr<const NrtApi>;
  return *chosen;
}

std::shared_ptr<const NrtApi> library() {
  auto& chosen = chosen_library();
  if (!chosen) {
    nb::object located = nb::module_::import_("spike.library").attr("locate")();
    chosen = NrtApi::load(nb::cast<std::string>(nb::str(located.attr("path"))));
  }
  return chosen;
}

void load_library(const Text& path) {
  chosen_library() = path ? NrtApi::load(*path) : nullptr;
}

void close_runtime() {
  if (auto runtime = Runtime::active()) runtime->close();
}

void define_library(nb::module_& m) {
  m.def("load_library", load_library, "path"_a = nb::none(),
        "Use this libnrt from now on; without a path, look for one again.\n\n"
        "What is open keeps the one that it has.");
  m.def("close_runtime", close_runtime, "Close the runtime, if one is open.");
  m.def(
      "has_native_async", [] { return library()->has_async(); },
      "Whether libnrt executes asynchronously itself.");
  // While Python still works: executions that are to end may need it.
  nb::module_::import_("atexit").attr("register")(m.attr("close_runtime"));
}

// ---- Tensors ------------------------------------------------------------------------

class Buffer {
 public:
  Buffer(nb::handle object, bool writable) {
    if (PyObject_GetBuffer(object.ptr(), &view_, writable ? PyBUF_WRITABLE : 0) != 0)
      raise_from_python_error(writable
                                  ? "Object does not support writable buffer protocol"
                                  : "Object does not support buffer protocol");
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  void* data() const { return view_.buf; }
  size_t size() const { return view_.len; }

 private:
  Py_buffer view_;
};

void write(NrtTensor& tensor, nb::handle data, size_t offset) {
  Buffer buffer(data, false);
  tensor.write(buffer.data(), buffer.size(), offset);
}

nb::bytes read_bytes(const NrtTensor& tensor, size_t offset, size_t size) {
  size = tensor.readable(offset, size);
  auto bytes = nb::steal<nb::bytes>(PyBytes_FromStringAndSize(nullptr, size));
  if (!bytes.is_valid()) nb::raise_python_error();
  tensor.read(PyBytes_AS_STRING(bytes.ptr()), size, offset);
  return bytes;
}

void read_into(const NrtTensor& tensor, nb::handle target, size_t offset, size_t size) {
  size = tensor.readable(offset, size);
  Buffer buffer(target, true);
  if (buffer.size() < size)
    throw SpikeError("Buffer too small for tensor data: it has " +
                     std::to_string(buffer.size()) + " bytes, " + std::to_string(size) +
                     " are to be read.");
  tensor.read(buffer.data(), size, offset);
}

NrtTensor slice(const NrtTensor& tensor, size_t offset, size_t size, const Text& name) {
  return tensor.slice(offset, size, name.value_or("unnamed_tensor"));
}

nb::str describe(const NrtTensor& tensor) {
  return nb::str(
      nb::str("NrtTensor(name={!r}, size={}, core_id={}, is_freed={})")
          .format(tensor.name, tensor.size, tensor.core_id, tensor.is_freed()));
}

nb::str describe_metadata(const TensorMetadata& metadata) {
  return nb::str(nb::str("TensorMetadata(size={}, dtype={!r}, shape={!r})")
                     .format(metadata.size, metadata.dtype, metadata.shape));
}

void define_tensor(nb::module_& m) {
  nb::class_<NrtTensor>(m, "NrtTensor",
                        "Memory on a device; freed with its last owner.")
      .def_ro("core_id", &NrtTensor::core_id)
      .def_ro("size", &NrtTensor::size)
      .def_ro("name", &NrtTensor::name)
      .def_prop_ro("va", &NrtTensor::address,
                   "Address in the device's memory; 0 once freed.")
      .def_prop_ro("is_freed", &NrtTensor::is_freed,
                   "Whether it was freed, or its runtime closed.")
      .def("write", write, "data"_a, "offset"_a = 0, "Write any contiguous buffer.")
      .def("read_into", read_into, "buffer"_a, "offset"_a = 0, "size"_a = 0,
           "Read into a writable contiguous buffer.")
      .def("copy_from", &NrtTensor::copy_from, "source"_a, "source_offset"_a = 0,
           "offset"_a = 0, "size"_a = 0, "Copy on the device.")
      .def("fill", &NrtTensor::fill, "byte"_a, "offset"_a = 0, "size"_a = 0,
           "Set every byte, on the device.")
      .def("slice", slice, "offset"_a = 0, "size"_a = 0, "name"_a = nb::none(),
           "Another tensor on a part of the same memory.")
      .def("free", &NrtTensor::free,
           "Free now, or after the last running call. Idempotent.")
      .def("__repr__", describe);
}

// ---- Models -------------------------------------------------------------------------

NamedTensors pin_all(nb::dict tensors) {
  NamedTensors pins;
  for (auto [key, value] : tensors) {
    std::string name;
    const NrtTensor* tensor = nullptr;
    if (!nb::try_cast(key, name) || !nb::try_cast(value, tensor) || !tensor)
      throw nb::type_error("inputs and outputs are each a dict of NrtTensor by name");
    pins.emplace_back(name,
                      tensor->pin("Tensor '" + name +
                                  "' is freed. Unable to add it into the tensor set"));
  }
  return pins;
}

PreparedCall prepare(const NrtModel& model, nb::dict inputs, nb::dict outputs) {
  return {model.pin("Unable to execute an unloaded model"), pin_all(inputs),
          pin_all(outputs)};
}

/// The latest calls of a model, and the Python objects that each stands for.
struct CallMemory {
  struct Entry {
    std::shared_ptr<const PreparedCall> call;
    BoundArguments inputs, outputs;
  };
  // Enough to alternate between buffers; the newest is last.
  static constexpr size_t kSize = 4;
  std::vector<Entry> entries;

  void remember(const PreparedCall& call, nb::dict inputs, nb::dict outputs) {
    entries.erase(
        std::remove_if(entries.begin(), entries.end(),
                       [](const Entry& entry) { return !entry.call->is_valid(); }),
        entries.end());
    if (entries.size() == kSize) entries.erase(entries.begin());
    entries.push_back({std::make_shared<const PreparedCall>(call),
                       BoundArguments(inputs), BoundArguments(outputs)});
  }
};

/// The fast way of a call: by a remembered one, else by the class's `_call_anew`.
nb::object call_model(nb::handle self, nb::dict inputs, nb::object outputs,
                      nb::object save_trace, nb::object ntff_name) {
  auto& entries = nb::cast<CallMemory&>(self).entries;
  if (nb::isinstance<nb::dict>(outputs) && save_trace.is(nb::handle(Py_False)))
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry)
      if (entry->inputs.matches(inputs) &&
          entry->outputs.matches(nb::borrow<nb::dict>(outputs))) {
        auto call = entry->call;  // other threads may change what is remembered
        if (!call->try_execute()) break;
        return nb::none();
      }
  return self.attr("_call_anew")(inputs, outputs, save_trace, ntff_name);
}

nb::object benchmark(const PreparedCall& call, int warmup, int iterations) {
  if (warmup < 0 || iterations < 1)
    throw nb::value_error(
        "benchmark needs at least one iteration and no negative number of warmup "
        "iterations");
  return nb::module_::import_("spike.benchmark")
      .attr("BenchmarkResult")
      .attr("from_durations")(call.benchmark(warmup, iterations), warmup);
}

nb::dict to_dict(const NamedMetadata& tensors) {
  nb::dict dict;
  for (auto& [name, metadata] : tensors) dict[name.c_str()] = metadata;
  return dict;
}

std::string count_tensors(const ModelTensorInfo& info) {
  return "ModelTensorInfo(inputs=" + std::to_string(info.inputs.size()) +
         " tensors, outputs=" + std::to_string(info.outputs.size()) + " tensors)";
}

void define_metadata(nb::module_& m) {
  nb::class_<TensorMetadata>(m, "TensorMetadata",
                             "Size in bytes, dtype and shape of an input or output.")
      .def(nb::init<size_t, std::string, std::vector<int64_t>>(), "size"_a, "dtype"_a,
           "shape"_a)
      .def_ro("size", &TensorMetadata::size)
      .def_ro("dtype", &TensorMetadata::dtype)
      .def_ro("shape", &TensorMetadata::shape)
      .def("__repr__", describe_metadata);
  nb::class_<ModelTensorInfo>(m, "ModelTensorInfo",
                              "What a model takes and gives, in the NEFF's order.")
      .def_prop_ro(
          "inputs", [](const ModelTensorInfo& self) { return to_dict(self.inputs); },
          nb::sig("def inputs(self) -> dict[str, TensorMetadata]"))
      .def_prop_ro(
          "outputs", [](const ModelTensorInfo& self) { return to_dict(self.outputs); },
          nb::sig("def outputs(self) -> dict[str, TensorMetadata]"))
      .def("__repr__", count_tensors);
}

#define SPIKE_TENSORS "inputs: dict[str, NrtTensor], outputs: dict[str, NrtTensor]"
#define SPIKE_OBJECTS "inputs: dict[str, typing.Any], outputs: dict[str, typing.Any]"
#define SPIKE_ITERATIONS "warmup_iterations: int = 1, benchmark_iterations: int = 1"
#define SPIKE_RESULT "spike.benchmark.BenchmarkResult"

void define_calls(nb::module_& m) {
  nb::class_<AsyncExecution>(m, "AsyncExecution", "An execution that was submitted.")
      .def_ro("sequence", &AsyncExecution::sequence)
      .def("done", &AsyncExecution::done,
           "Whether it is over. Does not block, and does not raise its error.")
      .def("is_completed", &AsyncExecution::done, "The same as done().")
      .def("wait", &AsyncExecution::wait,
           "Block until it is over. Raises NrtError if it failed. Idempotent.");
  nb::class_<PreparedCall>(m, "PreparedCall",
                           "A call made ready once. It keeps neither model nor "
                           "tensors.\n\n"
                           "Its methods raise SpikeError once one of them is gone.")
      .def("execute", &PreparedCall::execute)
      .def("profile", &PreparedCall::profile, "ntff_name"_a,
           "Execute, and write a profile to the file.")
      .def("benchmark", benchmark, "warmup_iterations"_a = 1,
           "benchmark_iterations"_a = 1,
           nb::sig("def benchmark(self, " SPIKE_ITERATIONS ") -> " SPIKE_RESULT))
      .def("execute_async", AsyncExecution::start)
      .def_prop_ro("is_valid", &PreparedCall::is_valid);
  nb::class_<CallMemory>(m, "CallMemory", "The fast way of SpikeModel's calls.")
      .def(nb::init<>())
      .def("remember", &CallMemory::remember, "call"_a, "inputs"_a, "outputs"_a,
           nb::sig("def remember(self, call: PreparedCall, " SPIKE_OBJECTS ") -> None"),
           "Execute this call for these tensor objects from now on.")
      .def("__call__", call_model, "inputs"_a, "outputs"_a = nb::none(),
           "save_trace"_a = false, "ntff_name"_a = nb::none(),
           nb::sig("def __call__(self, inputs: dict[str, typing.Any], outputs: "
                   "dict[str, typing.Any] | None = None, save_trace: bool = False, "
                   "ntff_name: str | None = None) -> dict[str, typing.Any] | None"));
}

void define_model(nb::module_& m) {
  nb::class_<NrtModel>(m, "NrtModel", "A NEFF loaded on a core.")
      .def_ro("neff_path", &NrtModel::neff_path)
      .def_ro("core_id", &NrtModel::core_id)
      .def_ro("rank_id", &NrtModel::rank_id)
      .def_ro("world_size", &NrtModel::world_size)
      .def_ro("is_collective", &NrtModel::is_collective)
      .def_prop_ro("is_unloaded", &NrtModel::is_unloaded,
                   "Whether it was unloaded, or its runtime closed.")
      .def("tensor_info", &NrtModel::tensor_info)
      .def("prepare", prepare, "inputs"_a, "outputs"_a,
           nb::sig("def prepare(self, " SPIKE_TENSORS ") -> PreparedCall"),
           "Make a call ready that is to be executed often.")
      .def("unload", &NrtModel::unload,
           "Unload now, or after the last running call. Idempotent.")
      .def("__repr__", &NrtModel::describe);
}

// ---- Spike --------------------------------------------------------------------------

void open(Spike* self, int verbose_level) {
  if (verbose_level > 0) nb::print("Initializing SPIKE Runtime");
  new (self) Spike(library());
}

NrtModel load_model(const Spike& self, const std::string& neff_file, int core_id,
                    bool cc_enabled, uint32_t rank_id, uint32_t world_size) {
  return NrtModel::load(self.runtime(), neff_file, core_id, cc_enabled, rank_id,
                        world_size);
}

NrtTensor allocate(const Spike& self, size_t size, int core_id, const Text& name) {
  return NrtTensor::allocate(self.runtime(), size, core_id,
                             name.value_or("unnamed_tensor"));
}

void write_own(const Spike& self, NrtTensor& tensor, nb::handle data, size_t offset) {
  write(self.own(tensor), data, offset);
}

nb::bytes read_own(const Spike& self, const NrtTensor& tensor, size_t offset,
                   size_t size) {
  return read_bytes(self.own(tensor), offset, size);
}

void read_own_into(const Spike& self, const NrtTensor& tensor, nb::handle buffer,
                   size_t offset, size_t size) {
  read_into(self.own(tensor), buffer, offset, size);
}

void copy_own(const Spike& self, const NrtTensor& source, NrtTensor& destination,
              size_t source_offset, size_t offset, size_t size) {
  self.own(destination).copy_from(self.own(source), source_offset, offset, size);
}

void fill_own(const Spike& self, NrtTensor& tensor, int byte, size_t offset,
              size_t size) {
  self.own(tensor).fill(byte, offset, size);
}

NrtTensor slice_own(const Spike& self, const NrtTensor& source, size_t offset,
                    size_t size, const Text& name) {
  return slice(self.own(source), offset, size, name);
}

PreparedCall prepare_own(const Spike& self, const NrtModel& model, nb::dict inputs,
                         nb::dict outputs) {
  return prepare(self.own(model), inputs, outputs);
}

void execute_own(const Spike& self, const NrtModel& model, nb::dict inputs,
                 nb::dict outputs, const Text& ntff_name, bool save_trace) {
  PreparedCall call = prepare_own(self, model, inputs, outputs);
  if (save_trace)
    call.profile(ntff_name.value_or("profile.ntff"));
  else
    call.execute();
}

std::shared_ptr<AsyncExecution> execute_async_own(const Spike& self,
                                                  const NrtModel& model,
                                                  nb::dict inputs, nb::dict outputs) {
  return AsyncExecution::start(prepare_own(self, model, inputs, outputs));
}

nb::object benchmark_own(const Spike& self, const NrtModel& model, nb::dict inputs,
                         nb::dict outputs, int warmup, int iterations) {
  return benchmark(prepare_own(self, model, inputs, outputs), warmup, iterations);
}

void define_spike_tensors(nb::class_<Spike>& spike) {
  spike
      .def("allocate_tensor", allocate, "size"_a, "core_id"_a = 0,
           "name"_a = nb::none())
      .def("slice_from_tensor", slice_own, "source"_a, "offset"_a = 0, "size"_a = 0,
           "name"_a = nb::none())
      .def(
          "free_tensor", [](const Spike&, NrtTensor& tensor) { tensor.free(); },
          "tensor"_a)
      .def("tensor_write", write_own, "tensor"_a, "data"_a, "offset"_a = 0)
      .def("tensor_write_from_pybuffer", write_own, "tensor"_a, "buffer"_a,
           "offset"_a = 0)
      .def("tensor_copy", copy_own, "source"_a, "destination"_a, "source_offset"_a = 0,
           "offset"_a = 0, "size"_a = 0, "Copy on the device.")
      .def("tensor_fill", fill_own, "tensor"_a, "byte"_a, "offset"_a = 0, "size"_a = 0,
           "Set every byte, on the device.")
      .def("tensor_read", read_own, "tensor"_a, "offset"_a = 0, "size"_a = 0)
      .def("tensor_read_to_pybuffer", read_own_into, "tensor"_a, "buffer"_a,
           "offset"_a = 0, "size"_a = 0);
}

void define_spike_models(nb::class_<Spike>& spike) {
  spike
      .def("load_model", load_model, "neff_file"_a, "core_id"_a = 0,
           "cc_enabled"_a = false, "rank_id"_a = 0, "world_size"_a = 1)
      .def(
          "unload_model", [](const Spike&, NrtModel& model) { model.unload(); },
          "model"_a)
      .def(
          "get_tensor_info",
          [](const Spike&, const NrtModel& model) { return model.tensor_info(); },
          "model"_a)
      .def("prepare", prepare_own, "model"_a, "inputs"_a, "outputs"_a,
           nb::sig("def prepare(self, model: NrtModel, " SPIKE_TENSORS
                   ") -> PreparedCall"))
      .def("execute", execute_own, "model"_a, "inputs"_a, "outputs"_a,
           "ntff_name"_a = nb::none(), "save_trace"_a = false,
           nb::sig("def execute(self, model: NrtModel, " SPIKE_TENSORS
                   ", ntff_name: str | None = None, save_trace: bool = False) -> None"))
      .def("execute_async", execute_async_own, "model"_a, "inputs"_a, "outputs"_a,
           nb::sig("def execute_async(self, model: NrtModel, " SPIKE_TENSORS
                   ") -> AsyncExecution"))
      .def("benchmark", benchmark_own, "model"_a, "inputs"_a, "outputs"_a,
           "warmup_iterations"_a = 1, "benchmark_iterations"_a = 1,
           nb::sig("def benchmark(self, model: NrtModel, " SPIKE_TENSORS
                   ", " SPIKE_ITERATIONS ") -> " SPIKE_RESULT));
}

void define_spike(nb::module_& m) {
  nb::class_<Spike> spike(m, "Spike", "The runtime: one at a time in a process.");
  spike.def("__init__", open, "verbose_level"_a = 0)
      .def_static(
          "get_visible_neuron_core_count",
          [] { return visible_core_count(*library()); },
          "How many cores this process may use. Opens no runtime.")
      .def_static(
          "get_runtime_version", [] { return runtime_version(*library()); },
          "Version of libnrt. Opens no runtime.")
      .def(
          "close",
          [](Spike& self) {
            self.close();
            return 0;
          },
          "Close the runtime after running calls. Idempotent.\n\n"
          "Its tensors and models become invalid.")
      .def_prop_ro("is_closed", &Spike::is_closed)
      .def("memory_stats", &Spike::memory_stats, "core_id"_a = 0,
           "Bytes used, and bytes that there are, on a core.");
  define_spike_tensors(spike);
  define_spike_models(spike);
}

void start_trace(SystemTraceSession* self, std::optional<uint32_t> core_id) {
  if (!Runtime::active()) nb::module_::import_("spike").attr("get_spike_singleton")();
  new (self) SystemTraceSession(Runtime::active(), core_id);
}

void define_trace(nb::module_& m) {
  using Session = SystemTraceSession;
  nb::class_<Session>(m, "SystemTraceSession",
                      "Records libnrt's events of one core, or of all, until stopped.")
      .def("__init__", start_trace, "core_id"_a = nb::none())
      .def("stop", &Session::stop, "Idempotent.")
      .def(
          "fetch_events_json", [](Session& self) { return self.take_events("fetch"); },
          "The events since the last fetch as JSON; empty if there are none.")
      .def(
          "drain_events", [](Session& self) { self.take_events("drain"); },
          "Take events and drop them.")
      .def(
          "__enter__", [](nb::object self) { return self; },
          nb::sig("def __enter__(self) -> SystemTraceSession"))
      .def(
          "__exit__", [](Session& self, nb::args) { self.stop(); },
          nb::sig("def __exit__(self, *args: object) -> None"));
}

}  // namespace
}  // namespace spike

NB_MODULE(_spike, m) {
  // At exit Python leaves objects alive; the runtime is closed by then.
  nb::set_leak_warnings(false);
  m.doc() = "C++ half of spike.";
  m.attr("__version__") = SPIKE_VERSION;
  spike::define_errors(m);
  spike::define_library(m);
  spike::define_metadata(m);
  spike::define_tensor(m);
  spike::define_calls(m);
  spike::define_model(m);
  spike::define_spike(m);
  spike::define_trace(m);
}
