// The fast way of a model's calls: recognises the arguments of an earlier one.

#include <algorithm>

#include "async_execution.h"
#include "bindings.h"

namespace spike {
namespace {

using Objects = nb::typed<nb::dict, nb::str, nb::any>;
// Objects as they are: conversions would cost as much as recognising them.
using Unchecked = nb::typed<nb::object, Objects>;

/// The names and the tensor objects of a dict, or None, remembered without keeping the
/// objects.
///
/// The same objects under the same names mean the same shapes, dtypes and memory: what
/// a SpikeTensor is never changes, and what may change has a token, which tells. So
/// nothing needs to be validated again.
class BoundArguments {
 public:
  /// `arrays` are the tensors' answers to the device-array protocol, by name.
  BoundArguments(std::optional<Objects> arguments, nb::dict arrays) {
    if (!arguments) return;
    entries_.emplace();
    for (auto [name, tensor] : *arguments)
      entries_->push_back(
          {nb::borrow(name), nb::weakref(tensor), arrays[name].attr("token")});
  }

  /// Whether it is a dict of these very objects, in the order of then, unchanged.
  bool matches(nb::handle arguments) const {
    if (!entries_ || !PyDict_Check(arguments.ptr()))
      return !entries_ && arguments.is_none();
    if (size_t(PyDict_Size(arguments.ptr())) != entries_->size()) return false;
    Py_ssize_t position = 0;
    PyObject *name, *tensor;
    for (auto& entry : *entries_) {
      PyDict_Next(arguments.ptr(), &position, &name, &tensor);
      if (!same_name(name, entry.name.ptr()) || !refers_to(entry.tensor.ptr(), tensor))
        return false;
    }
    return std::none_of(entries_->begin(), entries_->end(), has_changed);
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

  std::optional<std::vector<Entry>> entries_;  // none stand for None
};

/// The latest calls of a model, and the Python objects that each stands for. A call
/// remembered without outputs is one of its inputs only.
class CallMemory {
 public:
  void remember(const PreparedCall& call, Objects inputs, Objects input_arrays,
                std::optional<Objects> outputs, Objects output_arrays) {
    auto is_gone = [](const auto& entry) { return !entry->call.try_pin(); };
    auto made = std::make_shared<Entry>(
        Entry{call, {inputs, input_arrays}, {outputs, output_arrays}});
    // To drop a pin or an entry may free tensors and run Python, while other threads
    // come here: it is done with a copy, and what goes is dropped at the end.
    auto kept = entries_;
    kept.erase(std::remove_if(kept.begin(), kept.end(), is_gone), kept.end());
    if (kept.size() == kSize) kept.erase(kept.begin());
    kept.push_back(std::move(made));
    entries_.swap(kept);
  }

  /// The call that was remembered for these arguments, if it can be executed.
  std::optional<PinnedCall> recall(nb::handle inputs, nb::handle outputs) const {
    auto remembered = entries_;  // what is asked may change what is remembered
    for (auto entry = remembered.rbegin(); entry != remembered.rend(); ++entry)
      if ((*entry)->inputs.matches(inputs) && (*entry)->outputs.matches(outputs))
        return (*entry)->call.try_pin();
    return {};
  }

 private:
  struct Entry {
    const PreparedCall call;
    const BoundArguments inputs, outputs;
  };

  // Enough to alternate between buffers; the newest is last.
  static constexpr size_t kSize = 4;
  std::vector<std::shared_ptr<const Entry>> entries_;
};

/// Fresh tensors for outputs, by name, or the inputs that they are written into; their
/// memory is added to `pins`. Each entry of the model's `_outputs` is how one is made:
/// bytes, shape, dtype and the input's name.
nb::dict allocate(nb::handle self, nb::dict inputs, NamedTensors& pins) {
  nb::object model = self.attr("model_ref"), tensor_class = self.attr("tensor_class");
  nb::dict made;
  for (auto [name, output] : nb::cast<nb::dict>(self.attr("_outputs"))) {
    auto label = nb::cast<std::string>(name);
    nb::object aliased = output[3];
    if (!aliased.is_none() && inputs.contains(aliased)) {
      made[name] = inputs[aliased];
      nb::object memory = self.attr("_memory").attr("of")(made[name]);
      pins.emplace_back(label, nb::cast<const NrtTensor&>(memory).pin(
                                   "Unable to execute with a freed tensor"));
      continue;
    }
    auto size = nb::cast<size_t>(output[0]);
    NrtTensor tensor = nb::cast<const NrtModel&>(model).allocate(size, label);
    pins.emplace_back(label, tensor.peek());
    made[name] = tensor_class(nb::cast(std::move(tensor)), output[1], output[2], name);
  }
  return made;
}

/// A call with these objects, remembered or made ready by the class's `_prepare`.
/// Without outputs they are allocated, and put in the place of None.
PinnedCall bind(nb::handle self, nb::handle inputs, nb::object& outputs) {
  auto remembered = nb::cast<const CallMemory&>(self).recall(inputs, outputs);
  if (!remembered) {
    nb::object prepared = self.attr("_prepare")(inputs, outputs);
    remembered = nb::cast<const PreparedCall&>(prepared).pin();
  }
  if (outputs.is_none()) {
    NamedTensors pins;
    outputs = allocate(self, nb::borrow<nb::dict>(inputs), pins);
    remembered->set_outputs(pins);
  }
  return *std::move(remembered);
}

std::shared_ptr<AsyncExecution> submit(nb::handle self, Unchecked inputs,
                                       Unchecked outputs) {
  nb::object given = outputs;
  return AsyncExecution::start(bind(self, inputs, given));
}

Objects allocate_outputs(nb::handle self, Objects inputs) {
  NamedTensors pins;
  return nb::borrow<Objects>(allocate(self, inputs, pins));
}

nb::typed<nb::object, std::optional<Objects>> call_model(
    nb::handle self, Unchecked inputs, Unchecked outputs,
    nb::typed<nb::object, bool> save_trace,
    nb::typed<nb::object, std::string> ntff_name) {
  nb::object made = outputs;
  PinnedCall call = bind(self, inputs, made);
  if (!nb::bool_(save_trace)) {
    call.execute();
  } else {
    nb::object beside = self.attr("neff_path").attr("with_suffix")(".ntff");
    nb::str file(nb::bool_(ntff_name) ? nb::object(ntff_name) : beside);
    call.profile(file.c_str());
  }
  return outputs.is_none() ? made : nb::none();
}

}  // namespace

void define_call_memory(nb::module_& m) {
  nb::class_<CallMemory>(m, "CallMemory", "The fast way of SpikeModel's calls.")
      .def(nb::init<>())
      .def("remember", &CallMemory::remember, "call"_a, "inputs"_a, "input_arrays"_a,
           "outputs"_a.none(), "output_arrays"_a,
           "This is the call with these objects, which answered these arrays.")
      .def("submit", submit, "inputs"_a, "outputs"_a,
           "Start a call with these tensors.")
      .def("allocate_outputs", allocate_outputs, "inputs"_a,
           "Tensors of any contents, or the inputs that they are written into.")
      .def("__call__", call_model, "inputs"_a, "outputs"_a = nb::none(),
           "save_trace"_a = false, "ntff_name"_a = nb::none());
}

}  // namespace spike
