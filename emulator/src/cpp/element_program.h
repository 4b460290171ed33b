// Programs that are element-wise functions and nothing else, which need no XLA.

#ifndef NKIPY_EMULATOR_ELEMENT_PROGRAM_H_
#define NKIPY_EMULATOR_ELEMENT_PROGRAM_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "direct_program.h"
#include "numpy_kernels.h"
#include "python_support.h"
#include "work_sharing.h"

namespace nkipy {

// What of an array is computed at a time, by all functions in turn: it stays in the
// caches. Whole vectors, so that results do not depend on how many threads there are.
constexpr size_t kElementsAtOnce = 4096;
constexpr size_t kMostOperands = 2;

class ElementProgram final : public DirectProgram {
 public:
  // A function of values: of the program's inputs, or, behind these, of its constants,
  // or, behind these, of what functions before it have computed.
  struct Step {
    const ElementFunction* function;
    std::vector<size_t> operands;
  };

  // Of arrays of `count` elements of float32, in up to `threads` threads. `results`
  // says which steps compute the outputs, each another one.
  ElementProgram(size_t count, size_t threads, size_t inputs,
                 std::vector<float> constants, std::vector<Step> steps,
                 const std::vector<size_t>& results)
      : DirectProgram(std::vector<Array>(inputs, {kItem, count * kItem}),
                      std::vector<Array>(results.size(), {kItem, count * kItem}),
                      count * steps.size()),
        count_(count),
        threads_(threads),
        inputs_(inputs),
        constants_(std::move(constants)),
        steps_(std::move(steps)),
        output_of_(steps_.size(), kNone) {
    for (size_t i = 0; i < results.size(); ++i) output_of_.at(results[i]) = i;
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  static constexpr size_t kItem = sizeof(float);

  bool compute(const std::vector<const char*>& from, const std::vector<char*>& to,
               std::string*) const override {
    const size_t pieces = (count_ + kElementsAtOnce - 1) / kElementsAtOnce;
    return share_among(
        threads_, pieces,
        [&](size_t piece) {
          const size_t begin = piece * kElementsAtOnce;
          compute_piece(from, to, begin, std::min(kElementsAtOnce, count_ - begin));
        },
        true);
  }

  void compute_piece(const std::vector<const char*>& from, const std::vector<char*>& to,
                     size_t begin, size_t count) const {
    const size_t first_constant = inputs_, first_step = inputs_ + constants_.size();
    const size_t nbytes = count * kItem, offset = begin * kItem;
    // What is no output.
    const auto between =
        steps_.size() == to.size() ? Memory() : allocate(steps_.size() * nbytes);
    const auto place_of = [&](size_t step) {
      return output_of_[step] == kNone
                 ? static_cast<char*>(between.get()) + step * nbytes
                 : to[output_of_[step]] + offset;
    };
    const auto size = static_cast<Py_ssize_t>(count);
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      char* arrays[kMostOperands + 1];
      Py_ssize_t strides[kMostOperands + 1];
      const size_t operands = step.operands.size();
      for (size_t j = 0; j <= operands; ++j) strides[j] = kItem;
      for (size_t j = 0; j < operands; ++j) {
        const size_t value = step.operands[j];
        if (value < first_constant) {
          arrays[j] = const_cast<char*>(from[value]) + offset;
        } else if (value < first_step) {
          const float* constant = &constants_[value - first_constant];
          arrays[j] = reinterpret_cast<char*>(const_cast<float*>(constant));
          strides[j] = 0;
        } else {
          arrays[j] = place_of(value - first_step);
        }
      }
      arrays[operands] = place_of(i);
      step.function->loop(arrays, &size, strides, step.function->data);
    }
  }

  const size_t count_, threads_, inputs_;
  const std::vector<float> constants_;
  const std::vector<Step> steps_;
  std::vector<size_t> output_of_;  // of each step, kNone if it is none
};

// Reads (count, threads, inputs, constants, steps, results), with steps of (function,
// operands), as ElementProgram has them; null with an exception set.
inline std::unique_ptr<ElementProgram> read_element_program(PyObject* tuple) {
  Py_ssize_t count, threads, inputs;
  PyObject *constants, *steps, *results;
  if (!PyArg_ParseTuple(tuple, "nnnO!O!O!", &count, &threads, &inputs, &PyTuple_Type,
                        &constants, &PyTuple_Type, &steps, &PyTuple_Type, &results)) {
    return nullptr;
  }
  constexpr Py_ssize_t kMostElements = Py_ssize_t{1} << 48, kMostInputs = 1 << 16;
  if (count < 0 || count > kMostElements || inputs < 0 || inputs > kMostInputs ||
      threads_in(threads) == 0) {
    PyErr_SetString(PyExc_ValueError, "a wrong number of elements, inputs or threads");
    return nullptr;
  }
  std::vector<float> numbers;
  for (Py_ssize_t i = 0; i < PyTuple_Size(constants); ++i) {
    const double number = PyFloat_AsDouble(PyTuple_GetItem(constants, i));
    numbers.push_back(static_cast<float>(number));
  }
  std::vector<ElementProgram::Step> made;
  for (Py_ssize_t i = 0; i < PyTuple_Size(steps); ++i) {
    const char* name;
    PyObject* operands;
    if (!PyArg_ParseTuple(PyTuple_GetItem(steps, i), "sO!", &name, &PyTuple_Type,
                          &operands)) {
      return nullptr;
    }
    made.push_back({find_function(name, strlen(name)), numbers_in(operands)});
    const size_t known = static_cast<size_t>(inputs) + numbers.size() + made.size() - 1;
    const auto is_known = [&](size_t value) { return value < known; };
    const ElementProgram::Step& step = made.back();
    constexpr auto type = ffi::DataType::F32;
    if (step.function == nullptr || step.operands.size() > kMostOperands ||
        !step.function->is_of(step.operands.size(), {type, type}, type, kOfElements) ||
        !std::all_of(step.operands.begin(), step.operands.end(), is_known)) {
      PyErr_Format(PyExc_ValueError, "step %zd is no function of known values", i);
      return nullptr;
    }
  }
  const std::vector<size_t> outputs = numbers_in(results);
  if (PyErr_Occurred() != nullptr) return nullptr;
  std::vector<bool> is_output(made.size());
  for (const size_t step : outputs) {
    if (step >= made.size() || is_output[step]) {
      PyErr_Format(PyExc_ValueError, "step %zu is none, or another result", step);
      return nullptr;
    }
    is_output[step] = true;
  }
  return std::make_unique<ElementProgram>(
      static_cast<size_t>(count), threads_in(threads), static_cast<size_t>(inputs),
      std::move(numbers), std::move(made), outputs);
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ELEMENT_PROGRAM_H_
