// NumPy's own inner loops, which need neither arrays nor the interpreter's lock.

#ifndef NKIPY_EMULATOR_NUMPY_KERNELS_H_
#define NKIPY_EMULATOR_NUMPY_KERNELS_H_

#include <algorithm>
#include <array>

#include "python_support.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// What NumPy's interface calls a PyUFuncGenericFunction.
using ElementLoop = void (*)(char** arrays, const Py_ssize_t* count,
                             const Py_ssize_t* steps, void* data);

// How many dimensions a loop goes through itself: one of all elements, or those of two
// matrices.
constexpr int kOfElements = 0, kOfMatrices = 3;

struct ElementFunction {
  ElementLoop loop = nullptr;
  void* data = nullptr;
  int operands = 0;
  int dimensions = kOfElements;
  // Of the operands and, behind them, of the result. Of those that are none of XLA's,
  // INVALID.
  std::array<ffi::DataType, 3> types{};

  // Whether it is a function of so many operands of these types: another one would read
  // and write other memory.
  bool is_of(size_t count, std::array<ffi::DataType, 2> of, ffi::DataType result,
             int how) const {
    return static_cast<size_t>(operands) == count && dimensions == how &&
           types[count] == result &&
           std::equal(of.begin(), of.begin() + count, types.begin());
  }
};

enum class NumpyType {
  kBool,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat32,
  kFloat64,
  kCount
};

// Without the lock held: what add_function() was given before. Null if there is none.
const ElementFunction* find_function(const char* name, size_t length);

// Sorts in the order of np.sort, of which NaN is last. Equal elements may change
// places.
void sort_by_numpy(NumpyType type, void* first, size_t count);

// The index of the first NaN, else of the first of the greatest elements (the smallest,
// if so wanted).
size_t arg_extreme_by_numpy(NumpyType type, const void* first, size_t count,
                            bool least);

// add_function(name, ufunc, index): names loop `index` of a ufunc.
PyObject* add_function(PyObject* module, PyObject* args);

// orders_by_numpy(): whether there is what the two above call. They must not be called
// if not.
PyObject* orders_by_numpy(PyObject* module, PyObject* none);

// False, with an exception set, if this NumPy has not what is wanted here.
bool find_numpy();

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_NUMPY_KERNELS_H_
