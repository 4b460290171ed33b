// Recognises the arguments of an earlier call.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

namespace spike {

/// The names and the tensor objects of a dict, remembered without keeping the objects.
///
/// The same objects under the same names mean the same shapes, dtypes and memory,
/// because those of a SpikeTensor never change; so nothing needs to be validated again.
class BoundArguments {
 public:
  /// Remembers a dict of objects that can be weakly referenced.
  explicit BoundArguments(nanobind::dict arguments) {
    for (auto [name, tensor] : arguments)
      entries_.push_back({nanobind::borrow(name),
                          nanobind::steal(PyWeakref_NewRef(tensor.ptr(), nullptr))});
    for (auto& entry : entries_)
      if (!entry.tensor.is_valid()) nanobind::raise_python_error();
  }

  /// Whether the dict holds these very objects, in the order of then.
  bool matches(nanobind::dict arguments) const {
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
    nanobind::object name, tensor;
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

}  // namespace spike
