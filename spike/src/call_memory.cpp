// The fast way of a model's calls: recognises the arguments of an earlier one.

#include <nanobind/nanobind.h>

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
/// The same objects under the same names mean the same shapes, dtypes and memory,
/// because those of a SpikeTensor never change; so nothing needs to be validated again.
class BoundArguments {
 public:
  explicit BoundArguments(nb::dict arguments) {
    for (auto [name, tensor] : arguments)
      entries_.push_back({nb::borrow(name), nb::weakref(tensor)});
  }

  /// Whether the dict holds these very objects, in the order of then.
  bool matches(nb::dict arguments) const {
    if (arguments.size() != entries_.size()) return false;
    Py_ssize_t position = 0;
    PyObject *name, *tensor;
    for (auto entry = entries_.begin();
         PyDict_Next(arguments.ptr(), &position, &name, &tensor); ++entry)
      if (!same_name(name, entry->name.ptr()) ||
          !refers_to(entry->tensor.ptr(), tensor))
        return false;
    return true;
  }

 private:
  struct Entry {
    nb::object name;
    nb::weakref tensor;
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

  std::vector<Entry> entries_;
};

/// The latest calls of a model, and the Python objects that each stands for.
class CallMemory {
 public:
  void remember(const PreparedCall& call, Objects inputs, Objects outputs) {
    auto is_gone = [](const Entry& entry) {
      PreparedCall::Pins pins;
      return !entry.call->try_pin(pins);
    };
    entries_.erase(std::remove_if(entries_.begin(), entries_.end(), is_gone),
                   entries_.end());
    if (entries_.size() == kSize) entries_.erase(entries_.begin());
    entries_.push_back({std::make_shared<const PreparedCall>(call),
                        BoundArguments(inputs), BoundArguments(outputs)});
  }

  /// Executes the call that was remembered for these arguments; false if none was.
  bool execute(nb::dict inputs, nb::dict outputs) const {
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      if (!entry->inputs.matches(inputs) || !entry->outputs.matches(outputs)) continue;
      auto call = entry->call;  // other threads may change what is remembered
      PreparedCall::Pins pins;
      if (!call->try_pin(pins)) return false;
      call->execute(pins);
      return true;
    }
    return false;
  }

 private:
  struct Entry {
    std::shared_ptr<const PreparedCall> call;
    BoundArguments inputs, outputs;
  };
  // Enough to alternate between buffers; the newest is last.
  static constexpr size_t kSize = 4;
  std::vector<Entry> entries_;
};

/// By a remembered call if there is one, else by the class's `_call_anew`. Takes
/// objects as they are: conversions would cost as much as recognising them.
nb::object call_model(nb::handle self, nb::object inputs, nb::object outputs,
                      nb::handle save_trace, nb::handle ntff_name) {
  auto& memory = nb::cast<const CallMemory&>(self);
  if (save_trace.is(Py_False) && nb::isinstance<nb::dict>(inputs) &&
      nb::isinstance<nb::dict>(outputs) &&
      memory.execute(nb::borrow<nb::dict>(inputs), nb::borrow<nb::dict>(outputs)))
    return nb::none();
  return self.attr("_call_anew")(inputs, outputs, save_trace, ntff_name);
}

}  // namespace

void define_call_memory(nb::module_& m) {
  nb::class_<CallMemory>(m, "CallMemory", "The fast way of SpikeModel's calls.")
      .def(nb::init<>())
      .def("remember", &CallMemory::remember, "call"_a, "inputs"_a, "outputs"_a,
           "Execute this call for these tensor objects from now on.")
      .def("__call__", call_model, "inputs"_a, "outputs"_a = nb::none(),
           "save_trace"_a = false, "ntff_name"_a = nb::none(),
           nb::sig("def __call__(self, inputs: dict[str, typing.Any], outputs: "
                   "dict[str, typing.Any] | None = None, save_trace: bool = False, "
                   "ntff_name: str | None = None) -> dict[str, typing.Any] | None"));
}

}  // namespace spike
