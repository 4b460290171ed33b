// The fast way of a model's calls: recognises the arguments of an earlier one.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>

#include "bindings.h"
#include "model.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace spike {
namespace {

using Objects = nb::typed<nb::dict, nb::str, nb::any>;

/// The names and the tensor objects of a dict, remembered without keeping the objects.
///
/// The same objects under the same names mean the same shapes, dtypes and memory: what
/// a SpikeTensor is never changes, and what may change has a token, which tells. So
/// nothing needs to be validated again.
class BoundArguments {
 public:
  /// `arrays` are the tensors' answers to the device-array protocol, by name.
  BoundArguments(nb::dict arguments, nb::dict arrays) {
    for (auto [name, tensor] : arguments)
      entries_.push_back(
          {nb::borrow(name), nb::weakref(tensor), arrays[name].attr("token")});
  }

  /// Whether the dict holds these very objects, in the order of then, unchanged.
  bool matches(nb::dict arguments) const {
    if (arguments.size() != entries_.size()) return false;
    Py_ssize_t position = 0;
    PyObject *name, *tensor;
    for (auto entry = entries_.begin();
         PyDict_Next(arguments.ptr(), &position, &name, &tensor); ++entry)
      if (!same_name(name, entry->name.ptr()) ||
          !refers_to(entry->tensor.ptr(), tensor))
        return false;
    return std::none_of(entries_.begin(), entries_.end(), has_changed);
  }

 private:
  struct Entry {
    nb::object name;
    nb::weakref tensor;
    nb::object token;
  };

  static bool same_name(PyObject* a, PyObject* b) {
    return a == b || (PyUnicode_Check(a) && PyUnicode_Compare(a, b) == 0);
  }

  static bool refers_to(PyObject* reference, PyObject* object) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject* referent = nullptr;
    PyWeakref_GetRef(reference, &referent);
    Py_XDECREF(referent);  // `object` is the caller's: if it is the same, it lives on
    return referent == object;
#else
    return PyWeakref_GetObject(reference) == object;
#endif
  }

  static bool has_changed(const Entry& entry) {
    if (entry.token.is_none()) return false;
    nb::object tensor = entry.tensor();
    return tensor.is_none() ||
           !tensor.attr("__spike_array__")().attr("token").equal(entry.token);
  }

  std::vector<Entry> entries_;
};

/// The latest calls of a model, and the Python objects that each stands for. A call
/// remembered without outputs is one of its inputs only.
class CallMemory {
 public:
  void remember(const PreparedCall& call, Objects inputs, Objects input_arrays,
                std::optional<Objects> outputs, Objects output_arrays) {
    auto is_gone = [](const auto& entry) {
      PreparedCall::Pins pins;
      return !entry->call.try_pin(pins);
    };
    auto made = std::make_shared<Entry>(
        Entry{call, BoundArguments(inputs, input_arrays), std::nullopt});
    if (outputs) made->outputs.emplace(*outputs, output_arrays);
    entries_.erase(std::remove_if(entries_.begin(), entries_.end(), is_gone),
                   entries_.end());
    if (entries_.size() == kSize) entries_.erase(entries_.begin());
    entries_.push_back(std::move(made));
  }

  /// The call that was remembered for these arguments, with its pins; null if none was.
  std::shared_ptr<const PreparedCall> recall(nb::handle inputs, nb::handle outputs,
                                             PreparedCall::Pins& pins) const {
    if (!nb::isinstance<nb::dict>(inputs)) return nullptr;
    auto remembered = entries_;  // what is asked may change what is remembered
    for (auto entry = remembered.rbegin(); entry != remembered.rend(); ++entry) {
      if (!(*entry)->inputs.matches(nb::borrow<nb::dict>(inputs)) ||
          !has_outputs(**entry, outputs))
        continue;
      if (!(*entry)->call.try_pin(pins)) return nullptr;
      return {*entry, &(*entry)->call};
    }
    return nullptr;
  }

 private:
  struct Entry {
    const PreparedCall call;
    const BoundArguments inputs;
    std::optional<BoundArguments> outputs;
  };

  static bool has_outputs(const Entry& entry, nb::handle outputs) {
    if (!entry.outputs) return outputs.is_none();
    return nb::isinstance<nb::dict>(outputs) &&
           entry.outputs->matches(nb::borrow<nb::dict>(outputs));
  }

  // Enough to alternate between buffers; the newest is last.
  static constexpr size_t kSize = 4;
  std::vector<std::shared_ptr<const Entry>> entries_;
};

nb::object recall(const CallMemory& memory, nb::handle inputs, nb::handle outputs) {
  PreparedCall::Pins pins;
  auto call = memory.recall(inputs, outputs, pins);
  return call ? nb::cast(*call, nb::rv_policy::copy) : nb::none();
}

/// Executes with fresh tensors for outputs; returns them by name. Each entry of the
/// model's `_outputs` is how one is made: bytes, shape and dtype.
nb::object execute_anew(nb::handle self, const PreparedCall& call,
                        const PreparedCall::Pins& pins) {
  NrtRuntime::Lease runtime = open_runtime();
  nb::object tensor_class = self.attr("tensor_class");
  nb::dict made;
  NamedTensors outputs;
  for (auto [name, output] : nb::cast<nb::dict>(self.attr("_outputs"))) {
    auto label = nb::cast<std::string>(name);
    auto size = nb::cast<size_t>(output[0]);
    auto tensor = NrtTensor::allocate(runtime, size, call.core_id, label);
    outputs.emplace_back(label, tensor.peek());
    made[name] = tensor_class(nb::cast(std::move(tensor)), output[1], output[2], name);
  }
  PreparedCall complete = call.with_outputs(pins, outputs);
  outputs.clear();
  complete.execute();
  return made;
}

/// By a remembered call if there is one, else by the class's `_call_anew`. Takes
/// objects as they are: conversions would cost as much as recognising them.
nb::object call_model(nb::handle self, nb::object inputs, nb::object outputs,
                      nb::handle save_trace, nb::handle ntff_name) {
  PreparedCall::Pins pins;
  if (save_trace.is(Py_False))
    if (auto call = nb::cast<const CallMemory&>(self).recall(inputs, outputs, pins)) {
      if (!outputs.is_none()) {
        call->execute(pins);
        return nb::none();
      }
      if (!nb::cast<bool>(self.attr("_has_aliases")))
        return execute_anew(self, *call, pins);
    }
  return self.attr("_call_anew")(inputs, outputs, save_trace, ntff_name);
}

}  // namespace

void define_call_memory(nb::module_& m) {
  nb::class_<CallMemory>(m, "CallMemory", "The fast way of SpikeModel's calls.")
      .def(nb::init<>())
      .def("remember", &CallMemory::remember, "call"_a, "inputs"_a, "input_arrays"_a,
           "outputs"_a.none(), "output_arrays"_a,
           "This is the call with these objects, which answered these arrays.")
      .def("recall", recall, "inputs"_a, "outputs"_a.none(),
           nb::sig("def recall(self, inputs: object, outputs: object) -> PreparedCall "
                   "| None"),
           "The call that was remembered for these objects.")
      .def("__call__", call_model, "inputs"_a, "outputs"_a = nb::none(),
           "save_trace"_a = false, "ntff_name"_a = nb::none(),
           nb::sig("def __call__(self, inputs: dict[str, typing.Any], outputs: "
                   "dict[str, typing.Any] | None = None, save_trace: bool = False, "
                   "ntff_name: str | None = None) -> dict[str, typing.Any] | None"));
}

}  // namespace spike
