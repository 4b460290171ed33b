#include "numpy_kernels.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>

namespace nkipy {
namespace {

static_assert(std::is_same_v<npy_intp, Py_ssize_t>, "as ElementLoop says");
static_assert(std::is_same_v<ElementLoop, PyUFuncGenericFunction>, "ElementLoop");

constexpr int kTypeNumbers[] = {NPY_BOOL,   NPY_INT8,    NPY_UINT8,  NPY_INT16,
                                NPY_UINT16, NPY_INT32,   NPY_UINT32, NPY_INT64,
                                NPY_UINT64, NPY_FLOAT32, NPY_FLOAT64};
static_assert(std::size(kTypeNumbers) == static_cast<size_t>(NumpyType::kCount));

ffi::DataType xla_type(int type_number) {
  switch (type_number) {
    case NPY_BOOL:
      return ffi::DataType::PRED;
    case NPY_INT8:
      return ffi::DataType::S8;
    case NPY_UINT8:
      return ffi::DataType::U8;
    case NPY_INT16:
      return ffi::DataType::S16;
    case NPY_UINT16:
      return ffi::DataType::U16;
    case NPY_HALF:
      return ffi::DataType::F16;
    case NPY_FLOAT32:
      return ffi::DataType::F32;
    case NPY_FLOAT64:
      return ffi::DataType::F64;
    case NPY_INT:
      return ffi::DataType::S32;
    case NPY_UINT:
      return ffi::DataType::U32;
    case NPY_LONG:
      return sizeof(long) == 8 ? ffi::DataType::S64 : ffi::DataType::S32;
    case NPY_ULONG:
      return sizeof(long) == 8 ? ffi::DataType::U64 : ffi::DataType::U32;
    case NPY_LONGLONG:
      return ffi::DataType::S64;
    case NPY_ULONGLONG:
      return ffi::DataType::U64;
    default:
      return ffi::DataType::INVALID;
  }
}

struct ArrayKernels {
  PyArray_SortFunc* sort = nullptr;
  PyArray_ArgFunc *argmax = nullptr, *argmin = nullptr;
};

ArrayKernels array_kernels[static_cast<size_t>(NumpyType::kCount)];
bool has_array_kernels = true;

// Entries are added while modules are imported and never removed: what is found stays,
// also while the process ends, which calls that were left may live to see.
using Functions = std::map<std::string, ElementFunction, std::less<>>;
Functions& functions = *new Functions;
std::mutex functions_mutex;

bool find_array_kernels() {
  for (size_t i = 0; i < static_cast<size_t>(NumpyType::kCount); ++i) {
    PyArray_Descr* descr = PyArray_DescrFromType(kTypeNumbers[i]);
    if (descr == nullptr) return false;
    const PyArray_ArrFuncs* kernels = PyDataType_GetArrFuncs(descr);
    array_kernels[i] = {kernels->sort[NPY_QUICKSORT], kernels->argmax, kernels->argmin};
    Py_DECREF(descr);  // of a type of NumPy's own, which lives on
    const ArrayKernels& found = array_kernels[i];
    if (found.sort == nullptr || found.argmax == nullptr || found.argmin == nullptr) {
      has_array_kernels = false;  // a later NumPy may have them elsewhere
    }
  }
  return true;
}

}  // namespace

bool find_numpy() {
  return PyArray_ImportNumPyAPI() == 0 && PyUFunc_ImportUFuncAPI() == 0 &&
         find_array_kernels();
}

PyObject* orders_by_numpy(PyObject*, PyObject*) {
  return PyBool_FromLong(has_array_kernels);
}

PyObject* add_function(PyObject*, PyObject* args) {
  const char* name;
  PyObject* object;
  int index;
  if (!PyArg_ParseTuple(args, "sO!i", &name, &PyUFunc_Type, &object, &index)) {
    return nullptr;
  }
  const auto* ufunc = reinterpret_cast<PyUFuncObject*>(object);
  if (index < 0 || index >= ufunc->ntypes || ufunc->nout != 1 || ufunc->nin < 1 ||
      ufunc->nin > 2) {
    PyErr_Format(PyExc_ValueError, "ufunc %s has no such loop: %d", name, index);
    return nullptr;
  }
  ElementFunction function = {ufunc->functions[index], ufunc->data[index], ufunc->nin};
  if (ufunc->core_enabled != 0) function.dimensions = ufunc->core_num_dim_ix;
  for (int i = 0; i <= ufunc->nin; ++i) {
    function.types[static_cast<size_t>(i)] =
        xla_type(ufunc->types[index * ufunc->nargs + i]);
  }
  if (function.loop == nullptr) {
    PyErr_Format(PyExc_ValueError, "loop %d of ufunc %s has no function", index, name);
    return nullptr;
  }
  Py_INCREF(object);  // whose tables stay, then
  const std::lock_guard<std::mutex> lock(functions_mutex);
  functions.try_emplace(name, function);  // which handlers may be reading
  Py_RETURN_NONE;
}

const ElementFunction* find_function(const char* name, size_t length) {
  const std::lock_guard<std::mutex> lock(functions_mutex);
  const auto found = functions.find(std::string_view(name, length));
  return found == functions.end() ? nullptr : &found->second;
}

void sort_by_numpy(NumpyType type, void* first, size_t count) {
  const auto& kernels = array_kernels[static_cast<size_t>(type)];
  kernels.sort(first, static_cast<npy_intp>(count), nullptr);
}

size_t arg_extreme_by_numpy(NumpyType type, const void* first, size_t count,
                            bool least) {
  const auto& kernels = array_kernels[static_cast<size_t>(type)];
  npy_intp found = 0;
  auto* data = const_cast<void*>(first);
  (least ? kernels.argmin : kernels.argmax)(data, static_cast<npy_intp>(count), &found,
                                            nullptr);
  return static_cast<size_t>(found);
}

}  // namespace nkipy
