// CPython and NumPy from C++: owned references, exceptions, where an array lies.
//
// Only CPython's stable ABI is used: one binary serves every Python from 3.10 on. An
// array is looked at through its `__array_struct__` protocol, which knows every dtype
// (ml_dtypes have no buffer protocol); numpy_kernels.cpp has what needs NumPy's
// headers.

#ifndef NKIPY_EMULATOR_PYTHON_SUPPORT_H_
#define NKIPY_EMULATOR_PYTHON_SUPPORT_H_

#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030A0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <memory>
#include <new>
#include <utility>

namespace nkipy {

constexpr size_t kAlignment = 64;  // XLA's own requirement on argument memory

struct Ref {  // a strong reference; to be used with the GIL held
  PyObject* object = nullptr;
  Ref() = default;
  explicit Ref(PyObject* stolen) : object(stolen) {}
  Ref(Ref&& other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  Ref(const Ref&) = delete;
  ~Ref() { Py_XDECREF(object); }
  PyObject* get() const { return object; }
  PyObject* release() { return std::exchange(object, nullptr); }
  explicit operator bool() const { return object != nullptr; }
};

inline Ref share(PyObject* borrowed) {
  Py_INCREF(borrowed);
  return Ref(borrowed);
}

struct Free {
  void operator()(void* p) const { free(p); }
};
using Memory = std::unique_ptr<void, Free>;

inline Memory allocate(size_t nbytes) {
  size_t rounded = (nbytes + kAlignment) / kAlignment * kAlignment;
  void* p = aligned_alloc(kAlignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
  return Memory(p);
}

struct Span {
  uintptr_t begin = 0;
  size_t size = 0;
  uintptr_t end() const { return begin + size; }
  bool overlaps(const Span& o) const { return begin < o.end() && o.begin < end(); }
};

inline Span span_of(const void* p, size_t n) {
  return {reinterpret_cast<uintptr_t>(p), n};
}

// The pending exception as one object, traceback attached.
inline PyObject* take_exception() {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr && value != nullptr) {
    PyException_SetTraceback(value, traceback);
  }
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return value;
}

// Sets `exception` (stolen) as the pending one.
inline void raise(PyObject* exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  Py_DECREF(exception);
}

struct PyArrayInterface {  // NumPy's documented `__array_struct__`
  int two;
  int nd;
  char typekind;
  int itemsize;
  int flags;
  Py_intptr_t* shape;
  Py_intptr_t* strides;
  void* data;
  PyObject* descr;
};
constexpr int kContiguous = 0x1, kNativeOrder = 0x200, kWriteable = 0x400;

inline PyObject* array_struct_name = nullptr;
inline PyTypeObject* array_type = nullptr;  // NumPy's ndarray

// Where and how large `array` is; sets an exception unless it is a C-contiguous array
// of `nbytes` bytes in native byte order (and writeable, for an output).
inline bool locate(PyObject* array, size_t nbytes, const char* role, Py_ssize_t index,
                   bool write, Span* span) {
  if (!PyObject_TypeCheck(array, array_type)) {  // a scalar's is of a copy that goes
    PyErr_Format(PyExc_TypeError,
                 "%s %zd has to be an array, not one of %R; np.asarray makes one", role,
                 index, reinterpret_cast<PyObject*>(Py_TYPE(array)));
    return false;
  }
  Ref capsule(PyObject_GetAttr(array, array_struct_name));
  if (!capsule) return false;
  auto* a =
      static_cast<PyArrayInterface*>(PyCapsule_GetPointer(capsule.get(), nullptr));
  if (a == nullptr) return false;
  size_t actual = static_cast<size_t>(a->itemsize);
  for (int i = 0; i < a->nd; ++i) actual *= static_cast<size_t>(a->shape[i]);
  if (actual != nbytes) {
    PyErr_Format(PyExc_ValueError, "%s %zd has %zu bytes; the module has %zu", role,
                 index, actual, nbytes);
    return false;
  }
  int needed = kContiguous | kNativeOrder | (write ? kWriteable : 0);
  if ((a->flags & needed) != needed) {
    PyErr_Format(PyExc_ValueError,
                 "%s %zd must be C-contiguous, in native byte order%s", role, index,
                 write ? " and writeable" : "");
    return false;
  }
  *span = span_of(a->data, nbytes);
  return true;
}

inline bool check_count(PyObject* tuple, size_t expected, const char* what) {
  Py_ssize_t n = PyTuple_Size(tuple);
  if (static_cast<size_t>(n) == expected) return true;
  PyErr_Format(PyExc_ValueError, "got %zd %s; the module has %zu", n, what, expected);
  return false;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_PYTHON_SUPPORT_H_
