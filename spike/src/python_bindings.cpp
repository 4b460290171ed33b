// The nanobind extension module: Python's view of spike's C++ classes.

#include "bindings.h"

namespace spike {
namespace {

using Text = std::optional<std::string>;

// ---- Errors -------------------------------------------------------------------------

void set_status(nb::handle error, int status, nb::object number) {
  for (auto* name : {"status", "error_code", "code"}) nb::setattr(error, name, number);
  nb::setattr(error, "status_name", nb::str(status_name(status)));
}

void raise_nrt_error(const std::exception_ptr& thrown, void* type) {
  try {
    std::rethrow_exception(thrown);
  } catch (const NrtError& error) {
    auto& interrupt = library()->nkipy_emulator_take_interrupt;
    auto raised = nb::steal(static_cast<PyObject*>(interrupt ? interrupt() : nullptr));
    if (!raised.is_valid()) {
      raised = nb::handle(static_cast<PyObject*>(type))(error.what());
      nb::object statuses = nb::module_::import_("neff.status").attr("NrtStatus");
      set_status(raised, error.status, statuses.attr("of")(error.status));
    }
    PyErr_SetObject(raised.type().ptr(), raised.ptr());
  }
}

void define_errors(nb::module_& m) {
  nb::exception<SpikeRuntimeError> base(m, "SpikeRuntimeError", PyExc_RuntimeError);
  nb::exception<SpikeError> spike(m, "SpikeError", base);
  nb::exception<NrtError> nrt(m, "NrtError", base);
  nb::exception<NeffFileError> file(m, "NeffFileError", nb::make_tuple(spike, nrt));
  base.doc() = "What spike raises.";
  spike.doc() = "A mistake that spike itself finds.";
  nrt.doc() =
      "A failure that libnrt reports: number and name of its status.\n\n"
      "`error_code` and `code` are other names of `status`.";
  file.doc() = "A NEFF file that cannot be read; status is NRT_FAILURE.";
  set_status(nrt, NRT_FAILURE, nb::int_(int(NRT_FAILURE)));
  nb::register_exception_translator(raise_nrt_error, nrt.ptr());
}

// ---- Tensors ------------------------------------------------------------------------

class Buffer {
 public:
  Buffer(nb::handle object, bool is_writable) {
    if (PyObject_GetBuffer(object.ptr(), &view, is_writable ? PyBUF_WRITABLE : 0) == 0)
      return;
    nb::python_error cause;
    nb::object error = nb::module_::import_("spike._spike").attr("SpikeError");
    nb::raise_from(cause, error.ptr(),
                   "Spike Error: Object does not support %sbuffer protocol: %s",
                   is_writable ? "writable " : "", cause.what());
  }
  ~Buffer() { PyBuffer_Release(&view); }
  Buffer(const Buffer&) = delete;

  Py_buffer view;
};

// Each of these is a method of NrtTensor, and of Spike, whose own tensors it takes.

void write(NrtTensor& tensor, nb::handle data, size_t offset) {
  Buffer buffer(data, false);
  tensor.write(buffer.view.buf, buffer.view.len, offset);
}

nb::bytes read(const NrtTensor& tensor, size_t offset, size_t size) {
  size = tensor.readable(offset, size);
  nb::bytes bytes = bytes_of_size(size);
  tensor.read(PyBytes_AS_STRING(bytes.ptr()), size, offset);
  return bytes;
}

void read_into(const NrtTensor& tensor, nb::handle target, size_t offset, size_t size) {
  size = tensor.readable(offset, size);
  Buffer buffer(target, true);
  if (size_t(buffer.view.len) < size)
    throw SpikeError("Buffer too small for tensor data: it has " +
                     std::to_string(buffer.view.len) + " bytes, " +
                     std::to_string(size) + " are to be read.");
  tensor.read(buffer.view.buf, size, offset);
}

NrtTensor slice(const NrtTensor& tensor, size_t offset, size_t size, const Text& name) {
  return tensor.slice(offset, size, name.value_or("unnamed_tensor"));
}

nb::str describe_tensor(const NrtTensor& tensor) {
  return formatted("NrtTensor(name={!r}, size={}, core_id={}, is_freed={})",
                   tensor.label, tensor.size, tensor.core_id, tensor.is_gone());
}

void define_tensor(nb::module_& m) {
  nb::class_<NrtTensor>(m, "NrtTensor",
                        "Memory on a device; freed with its last owner.")
      .def_ro("core_id", &NrtTensor::core_id)
      .def_ro("size", &NrtTensor::size)
      .def_ro("name", &NrtTensor::label)
      .def_prop_ro("va", &NrtTensor::address,
                   "Address in the device's memory; 0 once freed.")
      .def_prop_ro("is_freed", &NrtTensor::is_gone,
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
      .def("__repr__", describe_tensor);
}

// ---- Models -------------------------------------------------------------------------

template <auto member>
auto placed(const NrtModel& model) {
  return model.placement.*member;
}

nb::str repr_of(const NrtModel& model) {
  const auto [core, is_collective, rank, world] = model.placement;
  return formatted(
      "NrtModel(ptr={:#x}, core_id={}, rank_id={}, world_size={}, "
      "is_collective={}, is_owner={})",
      model.address(), core, rank, world, is_collective, model.address() != 0);
}

template <NamedMetadata ModelTensorInfo::* tensors>
nb::typed<nb::dict, nb::str, TensorMetadata> by_name(const ModelTensorInfo& info) {
  nb::dict dict;
  for (auto& [name, metadata] : info.*tensors) dict[name.c_str()] = metadata;
  return dict;
}

void define_metadata(nb::module_& m) {
  nb::class_<TensorMetadata>(m, "TensorMetadata",
                             "Size in bytes, dtype and shape of an input or output.")
      .def(nb::init<size_t, std::string, std::vector<int64_t>>(), "size"_a, "dtype"_a,
           "shape"_a)
      .def_ro("size", &TensorMetadata::size)
      .def_ro("dtype", &TensorMetadata::dtype)
      .def_ro("shape", &TensorMetadata::shape)
      .def("__repr__", [](const TensorMetadata& self) {
        return formatted("TensorMetadata(size={}, dtype={!r}, shape={!r})", self.size,
                         self.dtype, self.shape);
      });
  nb::class_<ModelTensorInfo>(m, "ModelTensorInfo",
                              "What a model takes and gives, in the NEFF's order.")
      .def_prop_ro("inputs", by_name<&ModelTensorInfo::inputs>)
      .def_prop_ro("outputs", by_name<&ModelTensorInfo::outputs>)
      .def("__repr__", [](const ModelTensorInfo& self) {
        return formatted("ModelTensorInfo(inputs={} tensors, outputs={} tensors)",
                         self.inputs.size(), self.outputs.size());
      });
}

nb::class_<NrtModel> define_model(nb::module_& m) {
  return nb::class_<NrtModel>(m, "NrtModel", "A NEFF loaded on a core.")
      .def_ro("neff_path", &NrtModel::label)
      .def_prop_ro("core_id", placed<&Placement::core_id>)
      .def_prop_ro("rank_id", placed<&Placement::rank_id>)
      .def_prop_ro("world_size", placed<&Placement::world_size>)
      .def_prop_ro("is_collective", placed<&Placement::is_collective>)
      .def_prop_ro("is_unloaded", &NrtModel::is_gone,
                   "Whether it was unloaded, or its runtime closed.")
      .def("tensor_info", &NrtModel::tensor_info)
      .def("allocate", &NrtModel::allocate, "size"_a, "name"_a,
           "A tensor on the model's core.")
      .def("unload", &NrtModel::unload,
           "Unload now, or after the last running call. Idempotent.")
      .def("__repr__", repr_of);
}

// ---- Spike --------------------------------------------------------------------------

void open(Spike* self, int verbose_level) {
  if (verbose_level > 0) nb::print("Initializing SPIKE Runtime");
  new (self) Spike(library());
}

NrtTensor allocate(const Spike& self, Int size, Int core_id, const Text& name) {
  return self.allocate_tensor(integer<size_t>("size in bytes", size),
                              integer<int>("core_id", core_id),
                              name.value_or("unnamed_tensor"));
}

NrtModel load_model(const Spike& self, const std::string& neff_file, Int core_id,
                    bool cc_enabled, Int rank_id, Int world_size) {
  NrtModel model =
      self.load_model(neff_file, {integer<int>("core_id", core_id), cc_enabled,
                                  integer<uint32_t>("rank_id", rank_id),
                                  integer<uint32_t>("world_size", world_size)});
  nb::module_::import_("spike.spike_singleton").attr("watch")(model.placement.core_id);
  return model;
}

/// What does something with a tensor, as a method of the Spike that it belongs to.
template <class Result, class Tensor, class... Arguments>
auto method(Result (*function)(Tensor&, Arguments...)) {
  return [function](const Spike& self, Tensor& tensor, Arguments... arguments) {
    return function(self.own(tensor), std::forward<Arguments>(arguments)...);
  };
}

void define_spike_tensors(nb::class_<Spike>& spike) {
  spike
      .def("allocate_tensor", allocate, "size"_a, "core_id"_a = 0,
           "name"_a = nb::none())
      .def("slice_from_tensor", method(slice), "source"_a, "offset"_a = 0, "size"_a = 0,
           "name"_a = nb::none())
      .def("free_tensor", &Spike::free_tensor, "tensor"_a)
      .def("tensor_write", method(write), "tensor"_a, "data"_a, "offset"_a = 0)
      .def("tensor_write_from_pybuffer", method(write), "tensor"_a, "buffer"_a,
           "offset"_a = 0)
      .def("tensor_read", method(read), "tensor"_a, "offset"_a = 0, "size"_a = 0)
      .def("tensor_read_to_pybuffer", method(read_into), "tensor"_a, "buffer"_a,
           "offset"_a = 0, "size"_a = 0);
}

nb::class_<Spike> define_spike(nb::module_& m) {
  nb::class_<Spike> spike(m, "Spike", "The runtime: one at a time in a process.");
  spike.def("__init__", open, "verbose_level"_a = 0)
      .def_static(
          "get_visible_neuron_core_count",
          [] { return Spike::visible_core_count(*library()); },
          "How many cores this process may use. Opens no runtime.")
      .def_static(
          "get_runtime_version", [] { return Spike::runtime_version(*library()); },
          "Version of libnrt. Opens no runtime.")
      .def(
          "close", [](Spike& self) { return self.close(), 0; },
          "Close the runtime after running calls. Idempotent.\n\n"
          "Its tensors and models become invalid.")
      .def_prop_ro("is_closed", &Spike::is_closed)
      .def("memory_stats", &Spike::memory_stats, "core_id"_a = 0,
           "Bytes used, and bytes that there are, on a core.")
      .def("load_model", load_model, "neff_file"_a, "core_id"_a = 0,
           "cc_enabled"_a = false, "rank_id"_a = 0, "world_size"_a = 1)
      .def("unload_model", &Spike::unload_model, "model"_a)
      .def("get_tensor_info", &Spike::get_tensor_info, "model"_a);
  define_spike_tensors(spike);
  return spike;
}

}  // namespace

NamedTensors pin_all(nb::dict tensors) {
  NamedTensors pins;
  for (auto [key, value] : tensors) {
    std::string name;
    const NrtTensor* tensor = nullptr;
    if (!nb::try_cast(key, name) || !nb::try_cast(value, tensor) || !tensor)
      throw nb::type_error("inputs and outputs are each a dict of NrtTensor by name");
    std::string refusal =
        "Tensor '" + name + "' is freed. Unable to add it into the tensor set";
    pins.emplace_back(name, tensor->pin(refusal));
  }
  return pins;
}

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
  auto model = spike::define_model(m);
  auto spike = spike::define_spike(m);
  spike::define_calls(m, model, spike);
  spike::define_ranks(spike);
  spike::define_trace(m);
  spike::define_c_interface(m);
}
