// Programs that are calls of handlers and nothing else, which need no XLA: each handler
// gets the call frame that XLA would give it.

#ifndef NKIPY_EMULATOR_HANDLER_PROGRAM_H_
#define NKIPY_EMULATOR_HANDLER_PROGRAM_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "axes.h"
#include "collective_calls.h"
#include "custom_calls.h"
#include "direct_program.h"
#include "operands.h"
#include "python_support.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

constexpr char kTargetCapsule[] = "xla._CUSTOM_CALL_TARGET";

// ---------------------------------------------------------------- what XLA is to them

// An error, as the handlers' side of the interface has it.
struct HandlerError {
  std::string message;
  XLA_FFI_Error_Code code;
};

inline HandlerError* error_of(XLA_FFI_Error* error) {
  return reinterpret_cast<HandlerError*>(error);
}

// The functions of XLA's that handlers of such programs call: errors, and how many
// threads there are, which the context points to.
inline const XLA_FFI_Api* handler_api() {
  static const XLA_FFI_Api api = [] {
    XLA_FFI_Api made = {};
    made.struct_size = XLA_FFI_Api_STRUCT_SIZE;
    made.api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR,
                        XLA_FFI_API_MINOR};
    made.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) {
      auto* error = new HandlerError{args->message, args->errc};
      return reinterpret_cast<XLA_FFI_Error*>(error);
    };
    made.XLA_FFI_Error_GetMessage = [](XLA_FFI_Error_GetMessage_Args* args) {
      args->message = error_of(args->error)->message.c_str();
    };
    made.XLA_FFI_Error_Destroy = [](XLA_FFI_Error_Destroy_Args* args) {
      delete error_of(args->error);
    };
    made.XLA_FFI_ThreadPool_NumThreads =
        [](XLA_FFI_ThreadPool_NumThreads_Args* args) -> XLA_FFI_Error* {
      *args->num_threads = *reinterpret_cast<const int64_t*>(args->ctx);
      return nullptr;
    };
    return made;
  }();
  return &api;
}

// ---------------------------------------------------------------- attributes

// Those of a call, sorted by their names. They point into it: it is not to be moved.
class HandlerAttributes {
 public:
  HandlerAttributes() = default;
  HandlerAttributes(const HandlerAttributes&) = delete;

  // Of a text, a number, or a tuple of numbers. False with an exception set.
  bool add(PyObject* name, PyObject* value) {
    if (!add_name(name)) return false;
    if (PyUnicode_Check(value)) {
      texts_.emplace_back();
      if (!read_text(value, &texts_.back())) return false;
      spans_.push_back({texts_.back().c_str(), texts_.back().size()});
      return append(XLA_FFI_AttrType_STRING, &spans_.back());
    }
    numbers_.emplace_back();
    std::vector<int64_t>& numbers = numbers_.back();
    if (PyTuple_Check(value)) {
      for (Py_ssize_t i = 0; i < PyTuple_Size(value); ++i) {
        numbers.push_back(PyLong_AsLongLong(PyTuple_GetItem(value, i)));
      }
      arrays_.push_back({XLA_FFI_DataType_S64, numbers.size(), numbers.data()});
      return append(XLA_FFI_AttrType_ARRAY, &arrays_.back());
    }
    numbers.push_back(PyLong_AsLongLong(value));
    scalars_.push_back({XLA_FFI_DataType_S64, numbers.data()});
    return append(XLA_FFI_AttrType_SCALAR, &scalars_.back());
  }

  XLA_FFI_Attrs all() const {
    return {XLA_FFI_Attrs_STRUCT_SIZE,
            nullptr,
            static_cast<int64_t>(types_.size()),
            const_cast<XLA_FFI_AttrType*>(types_.data()),
            const_cast<XLA_FFI_ByteSpan**>(names_.data()),
            const_cast<void**>(values_.data())};
  }

 private:
  static bool read_text(PyObject* text, std::string* read) {
    const Ref bytes(PyUnicode_AsUTF8String(text));
    const char* characters = bytes ? PyBytes_AsString(bytes.get()) : nullptr;
    if (characters != nullptr) *read = characters;
    return characters != nullptr;
  }

  bool add_name(PyObject* name) {
    texts_.emplace_back();
    if (!read_text(name, &texts_.back())) return false;
    spans_.push_back({texts_.back().c_str(), texts_.back().size()});
    names_.push_back(&spans_.back());
    return true;
  }

  bool append(XLA_FFI_AttrType type, void* value) {
    types_.push_back(type);
    values_.push_back(value);
    return PyErr_Occurred() == nullptr;
  }

  // What the others point to, which stays where it is.
  std::deque<std::string> texts_;
  std::deque<XLA_FFI_ByteSpan> spans_;
  std::deque<std::vector<int64_t>> numbers_;
  std::deque<XLA_FFI_Array> arrays_;
  std::deque<XLA_FFI_Scalar> scalars_;
  std::vector<XLA_FFI_AttrType> types_;
  std::vector<XLA_FFI_ByteSpan*> names_;
  std::vector<void*> values_;
};

// ---------------------------------------------------------------- programs

class HandlerProgram final : public DirectProgram {
 public:
  // An array: a program's inputs come first, then constants, then what steps make.
  // One that has the elements of another, in another shape, lies where that does.
  struct Value {
    int type;  // of XLA_FFI_DataType
    std::vector<int64_t> shape;
    size_t place;  // the value itself, or one before it

    size_t elements;

    size_t itemsize() const { return width_of(static_cast<ffi::DataType>(type)); }
    size_t nbytes() const { return elements * itemsize(); }
  };
  struct Step {
    XLA_FFI_Handler* handler;
    std::unique_ptr<HandlerAttributes> attributes;
    std::vector<size_t> operands, results;
  };

  // In up to `threads` threads. `results`: which values are the outputs, of which no
  // two lie in one place. It has been checked that all fit.
  HandlerProgram(size_t threads, size_t inputs, std::vector<Value> values,
                 std::vector<std::string> constants, std::vector<Step> steps,
                 std::vector<size_t> results)
      : DirectProgram(arrays(values, first(inputs)), arrays(values, results),
                      elements(values)),
        threads_(static_cast<int64_t>(threads)),
        inputs_(inputs),
        values_(std::move(values)),
        constants_(std::move(constants)),
        steps_(std::move(steps)),
        output_of_(values_.size(), kNone),
        offsets_(values_.size(), 0) {
    size_t most = 0;
    for (size_t i = 0; i < results.size(); ++i) output_of_[place(results[i])] = i;
    for (size_t i = inputs_ + constants_.size(); i < values_.size(); ++i) {
      if (place(i) != i || output_of_[i] != kNone) continue;
      offsets_[i] = between_;
      between_ += (values_[i].nbytes() / kAlignment + 1) * kAlignment;
    }
    for (const Step& step : steps_) {
      most = std::max({most, step.operands.size(), step.results.size()});
    }
    argument_types_.assign(most, XLA_FFI_ArgType_BUFFER);
    result_types_.assign(most, XLA_FFI_RetType_BUFFER);
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;

  static std::vector<size_t> first(size_t count) {
    std::vector<size_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), size_t{0});
    return numbers;
  }
  static std::vector<Array> arrays(const std::vector<Value>& values,
                                   const std::vector<size_t>& which) {
    std::vector<Array> found;
    for (const size_t i : which) {
      found.push_back({values[i].itemsize(), values[i].nbytes()});
    }
    return found;
  }
  static size_t elements(const std::vector<Value>& values) {
    size_t sum = 0;
    for (const Value& value : values) sum += value.elements;
    return sum;
  }

  size_t place(size_t value) const { return values_[value].place; }

  bool compute(const std::vector<const char*>& from, const std::vector<char*>& to,
               std::string* error) const override {
    const auto between = between_ == 0 ? Memory() : allocate(between_);
    std::vector<XLA_FFI_Buffer> buffers(values_.size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const Value& value = values_[i];
      buffers[i] = {XLA_FFI_Buffer_STRUCT_SIZE,
                    nullptr,
                    static_cast<XLA_FFI_DataType>(value.type),
                    nullptr,
                    static_cast<int64_t>(value.shape.size()),
                    const_cast<int64_t*>(value.shape.data())};
      buffers[i].data =
          place(i) != i ? buffers[place(i)].data : address(i, from, to, between.get());
    }
    return std::all_of(steps_.begin(), steps_.end(),
                       [&](const Step& step) { return call(step, buffers, error); });
  }

  void* address(size_t value, const std::vector<const char*>& from,
                const std::vector<char*>& to, void* between) const {
    if (output_of_[value] != kNone) return to[output_of_[value]];
    if (value < inputs_) return const_cast<char*>(from[value]);
    if (value < inputs_ + constants_.size()) {
      return const_cast<char*>(constants_[value - inputs_].data());
    }
    return static_cast<char*>(between) + offsets_[value];
  }

  bool call(const Step& step, std::vector<XLA_FFI_Buffer>& buffers,
            std::string* text) const {
    std::vector<void*> arguments, results;
    for (const size_t value : step.operands) arguments.push_back(&buffers[value]);
    for (const size_t value : step.results) results.push_back(&buffers[value]);
    XLA_FFI_CallFrame frame = {};
    frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
    frame.api = handler_api();
    frame.ctx =
        reinterpret_cast<XLA_FFI_ExecutionContext*>(const_cast<int64_t*>(&threads_));
    frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
    frame.args = {
        XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(arguments.size()),
        const_cast<XLA_FFI_ArgType*>(argument_types_.data()), arguments.data()};
    frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr,
                  static_cast<int64_t>(results.size()),
                  const_cast<XLA_FFI_RetType*>(result_types_.data()), results.data()};
    frame.attrs = step.attributes->all();
    XLA_FFI_Error* failed = step.handler(&frame);
    if (failed == nullptr) return true;
    const std::unique_ptr<HandlerError> error(error_of(failed));
    if (error->code != XLA_FFI_Error_Code_RESOURCE_EXHAUSTED) *text = error->message;
    return false;
  }

  const int64_t threads_;
  const size_t inputs_;
  const std::vector<Value> values_;
  const std::vector<std::string> constants_;
  const std::vector<Step> steps_;
  std::vector<size_t> output_of_;  // of each value, kNone if it is none
  std::vector<size_t> offsets_;    // in memory for what is neither given nor a result
  size_t between_ = 0;             // bytes of that
  std::vector<XLA_FFI_ArgType> argument_types_;
  std::vector<XLA_FFI_RetType> result_types_;
};

// ---------------------------------------------------------------- from Python

inline bool read_value(PyObject* tuple, std::vector<HandlerProgram::Value>* values) {
  int type;
  PyObject* shape;
  Py_ssize_t place;
  if (!PyArg_ParseTuple(tuple, "iO!n", &type, &PyTuple_Type, &shape, &place)) {
    return false;
  }
  HandlerProgram::Value value{type, {}, values->size(), 0};
  for (Py_ssize_t i = 0; i < PyTuple_Size(shape); ++i) {
    value.shape.push_back(PyLong_AsLongLong(PyTuple_GetItem(shape, i)));
  }
  if (PyErr_Occurred() != nullptr) return false;
  constexpr size_t kMostElements = size_t{1} << 48;
  const auto at = static_cast<size_t>(place);
  const bool is_array = type > 0 && type <= UINT8_MAX && value.itemsize() != 0 &&
                        count_of(value.shape, &value.elements) &&
                        value.elements <= kMostElements;
  const bool has_place = at < values->size() && (*values)[at].place == at &&
                         (*values)[at].type == value.type &&
                         (*values)[at].elements == value.elements;
  if (!is_array || (at != values->size() && !has_place)) {
    PyErr_Format(PyExc_ValueError, "value %zu is no array", values->size());
    return false;
  }
  value.place = at;
  values->push_back(std::move(value));
  return true;
}

// Those that need to know the call, which such a program does not tell them.
inline bool needs_vector(const XLA_FFI_Handler* handler) {
  const XLA_FFI_Handler* const all[] = {kStore, kOutOfBounds, kCallPython, kCollective,
                                        kRank};
  return std::find(std::begin(all), std::end(all), handler) != std::end(all);
}

// Whether an attribute says of operands that they lie where the call vector says.
inline bool is_of_vector(PyObject* name, PyObject* value) {
  return PyUnicode_CompareWithASCIIString(name, "words") == 0 &&
         !(PyTuple_Check(value) && PyTuple_Size(value) == 0);
}

inline bool read_step(PyObject* tuple, std::vector<HandlerProgram::Step>* steps) {
  PyObject *target, *attributes, *operands, *results;
  if (!PyArg_ParseTuple(tuple, "OO!O!O!", &target, &PyTuple_Type, &attributes,
                        &PyTuple_Type, &operands, &PyTuple_Type, &results)) {
    return false;
  }
  auto* handler =
      reinterpret_cast<XLA_FFI_Handler*>(PyCapsule_GetPointer(target, kTargetCapsule));
  if (handler == nullptr) return false;
  if (needs_vector(handler)) {
    PyErr_Format(PyExc_ValueError, "step %zu is of a handler that needs XLA",
                 steps->size());
    return false;
  }
  steps->push_back({handler, std::make_unique<HandlerAttributes>(),
                    numbers_in(operands), numbers_in(results)});
  if (PyErr_Occurred() != nullptr) return false;
  const HandlerProgram::Step& step = steps->back();
  for (Py_ssize_t i = 0; i < PyTuple_Size(attributes); ++i) {
    PyObject *name, *value;
    PyObject* pair = PyTuple_GetItem(attributes, i);
    if (!PyArg_ParseTuple(pair, "O!O", &PyUnicode_Type, &name, &value)) return false;
    if (is_of_vector(name, value)) {
      PyErr_SetString(PyExc_ValueError, "operands that lie where a vector says");
      return false;
    }
    if (!step.attributes->add(name, value)) return false;
  }
  return true;
}

// Whether all that is read has been given or made before, and nothing that was given is
// written to. False with an exception set.
inline bool check_steps(const std::vector<HandlerProgram::Value>& values, size_t given,
                        const std::vector<HandlerProgram::Step>& steps,
                        const std::vector<size_t>& results) {
  std::vector<bool> is_there(values.size());
  std::fill_n(is_there.begin(), given, true);
  const auto is_known = [&](size_t value) {
    return value < values.size() && is_there[values[value].place];
  };
  const auto is_own = [&](size_t value) {
    return value < values.size() && values[value].place >= given;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const HandlerProgram::Step& step = steps[i];
    if (!std::all_of(step.operands.begin(), step.operands.end(), is_known) ||
        !std::all_of(step.results.begin(), step.results.end(), is_own)) {
      PyErr_Format(PyExc_ValueError, "step %zu is of values that are not known", i);
      return false;
    }
    for (const size_t value : step.results) is_there[values[value].place] = true;
  }
  std::vector<bool> is_result(values.size());
  for (const size_t value : results) {
    if (!is_own(value) || !is_known(value) || is_result[values[value].place]) {
      PyErr_SetString(PyExc_ValueError, "results that no step makes, or one twice");
      return false;
    }
    is_result[values[value].place] = true;
  }
  return true;
}

// Reads (threads, inputs, values, constants, steps, results): values of (type, shape,
// place), constants as bytes, and steps of (target, attributes, operands, results), as
// HandlerProgram has them; null with an exception set.
inline std::unique_ptr<DirectProgram> read_handler_program(PyObject* tuple) {
  Py_ssize_t threads, inputs;
  PyObject *values, *constants, *steps, *results;
  if (!PyArg_ParseTuple(tuple, "nnO!O!O!O!", &threads, &inputs, &PyTuple_Type, &values,
                        &PyTuple_Type, &constants, &PyTuple_Type, &steps, &PyTuple_Type,
                        &results)) {
    return nullptr;
  }
  std::vector<HandlerProgram::Value> arrays;
  for (Py_ssize_t i = 0; i < PyTuple_Size(values); ++i) {
    if (!read_value(PyTuple_GetItem(values, i), &arrays)) return nullptr;
  }
  std::vector<std::string> literals;
  for (Py_ssize_t i = 0; i < PyTuple_Size(constants); ++i) {
    char* bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(constants, i), &bytes, &size) != 0) {
      return nullptr;
    }
    literals.emplace_back(bytes, static_cast<size_t>(size));
  }
  if (threads_in(threads) == 0 || inputs < 0 ||
      static_cast<size_t>(inputs) > arrays.size() ||
      literals.size() > arrays.size() - static_cast<size_t>(inputs)) {
    PyErr_SetString(PyExc_ValueError, "a wrong number of inputs, constants or threads");
    return nullptr;
  }
  const size_t given = static_cast<size_t>(inputs) + literals.size();
  for (size_t i = 0; i < given; ++i) {
    const auto constant = i - static_cast<size_t>(inputs);
    const bool is_constant = i >= static_cast<size_t>(inputs);
    if (arrays[i].place == i &&
        (!is_constant || literals[constant].size() == arrays[i].nbytes())) {
      continue;
    }
    PyErr_Format(PyExc_ValueError, "value %zu is not what is given", i);
    return nullptr;
  }
  std::vector<HandlerProgram::Step> made;
  for (Py_ssize_t i = 0; i < PyTuple_Size(steps); ++i) {
    if (!read_step(PyTuple_GetItem(steps, i), &made)) return nullptr;
  }
  const std::vector<size_t> outputs = numbers_in(results);
  if (PyErr_Occurred() != nullptr) return nullptr;
  if (!check_steps(arrays, given, made, outputs)) return nullptr;
  return std::make_unique<HandlerProgram>(
      threads_in(threads), static_cast<size_t>(inputs), std::move(arrays),
      std::move(literals), std::move(made), outputs);
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_HANDLER_PROGRAM_H_
