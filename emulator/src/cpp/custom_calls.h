// What compiled modules call: the store that ends each one, and handlers in Python.

#ifndef NKIPY_EMULATOR_CUSTOM_CALLS_H_
#define NKIPY_EMULATOR_CUSTOM_CALLS_H_

#include <sched.h>
#include <stdint.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "../libnrt/copy.h"
#include "../libnrt/engine_api.h"
#include "exit_gate.h"
#include "numpy_environment.h"
#include "python_support.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNoDeadline = Clock::time_point::max();

class Seat;

struct CallState {
  std::atomic<bool> failed{false};  // nothing begins to be stored from then on
  std::atomic<int> storing{0};      // how many replicas are at it
  std::atomic<bool> out_of_bounds{false};
  bool overlap = false;       // a result may overwrite an input that is read in place
  PyObject* error = nullptr;  // the first exception of a Python handler
  Clock::time_point deadline = kNoDeadline;  // handlers fail from then on
  // Who waits for other ranks does not wait longer. A process that is only asked to
  // execute has no deadline: who asks it has one.
  Clock::time_point wait_until = kNoDeadline;
  const nkipy_printer* printer = nullptr;  // until the call fails, or is left
  Seat* seat = nullptr;                    // the program's, if it has one
  bool is_awaited = false;  // others wait for it in collectives: it must not end early

  void begin(Clock::time_point until, const nkipy_printer* prints) {
    failed = out_of_bounds = overlap = false;
    deadline = wait_until = until;
    printer = prints;
  }
  bool is_late() const { return deadline != kNoDeadline && Clock::now() >= deadline; }
  // False if nothing is to be stored; else end_store() has to follow.
  bool begin_store() {
    ++storing;
    if (!failed) return true;
    end_store();
    return false;
  }
  void end_store() { --storing; }
  // The caller's memory is not written to any more.
  void stop() {
    failed = true;
    while (storing != 0) sched_yield();
  }
};

// What a replica's call vector points to.
struct Replica {
  CallState* call;
  uint32_t rank;
};

inline Replica* replica_of(const uint64_t* vector) {
  return reinterpret_cast<Replica*>(vector[0]);
}

// Whether it can be a call vector of so many words.
inline bool is_vector(const ffi::AnyBuffer& buffer, size_t words = 1) {
  return buffer.element_type() == ffi::DataType::U64 && buffer.element_count() >= words;
}

inline ffi::Error wrong_vector() {
  return ffi::Error(ffi::ErrorCode::kInternal, "a call vector of wrong length");
}

inline PyObject* timeout_error = nullptr;  // an exception class

constexpr char kTooLong[] = "the program runs longer than NEURON_RT_EXEC_TIMEOUT says";

inline void set_timeout_error() { PyErr_SetString(timeout_error, kTooLong); }

// Fails the call, not XLA's: see call_python.
inline void fail_call(CallState* state, PyObject* error, const char* text) {
  const PyGILState_STATE gil = ensure_lock();
  PyErr_SetString(error, text);
  PyObject* exception = take_exception();
  Py_XDECREF(std::exchange(state->error, exception));
  state->failed = true;
  PyGILState_Release(gil);
}

// False, with an exception set, if the call has taken too long.
inline bool has_time(const CallState* state) {
  if (state == nullptr || !state->is_late()) return true;
  set_timeout_error();
  return false;
}

// Copies results of which some lie in memory that another result is written to (swapped
// parameters, for example). Those are copied aside first.
inline void store_overlapping(const std::vector<Span>& from, const uint64_t* to) {
  std::vector<Memory> aside(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    for (size_t j = 0; j < from.size(); ++j) {
      if (i == j || !from[i].overlaps({to[j], from[j].size})) continue;
      aside[i] = allocate(from[i].size);
      memcpy(aside[i].get(), reinterpret_cast<void*>(from[i].begin), from[i].size);
      break;
    }
  }
  for (size_t i = 0; i < from.size(); ++i) {
    void* source = aside[i] ? aside[i].get() : reinterpret_cast<void*>(from[i].begin);
    memmove(reinterpret_cast<void*>(to[i]), source, from[i].size);
  }
}

// Copies all arguments but the last to where the call vector says: nowhere those for
// which it has no address, since the caller takes XLA's own memory.
constexpr size_t kSharedCopy = size_t{1} << 20;

inline void store_all(ffi::RemainingArgs args, const uint64_t* words, bool overlap) {
  std::vector<Span> aliased;
  std::vector<emulator::Copy> large;  // which several threads share
  for (size_t i = 0; i + 1 < args.size(); ++i) {
    auto buffer = args.get<ffi::AnyBuffer>(i);
    size_t size = words[i + 1] != 0 ? buffer->size_bytes() : 0;
    if (overlap) {
      aliased.push_back(span_of(buffer->untyped_data(), size));
      continue;
    }
    auto* target = reinterpret_cast<void*>(words[i + 1]);
    if (size >= kSharedCopy) {
      large.push_back({target, buffer->untyped_data(), size});
    } else if (size != 0) {
      memcpy(target, buffer->untyped_data(), size);
    }
  }
  if (!large.empty()) emulator::copy_all(large.data(), large.size());
  if (overlap) store_overlapping(aliased, words + 1);
}

inline ffi::Error store(ffi::RemainingArgs args, ffi::Result<ffi::AnyBuffer> done) {
  if (args.size() == 0) return wrong_vector();
  size_t n = args.size() - 1;
  auto vector = args.get<ffi::AnyBuffer>(n);
  if (!is_vector(*vector, n + 2) || done->size_bytes() == 0) return wrong_vector();
  const auto* words = static_cast<const uint64_t*>(vector->untyped_data());
  CallState* state = replica_of(words)->call;
  *static_cast<uint8_t*>(done->untyped_data()) = 1;
  if (!state->begin_store()) return ffi::Error::Success();
  bool stored = true;
  try {
    store_all(args, words, state->overlap);
  } catch (const std::bad_alloc&) {
    stored = false;
  }
  state->end_store();
  if (stored) return ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a result");
}

// Tells the call that its program has used an index out of bounds, if it has.
inline ffi::Error out_of_bounds(ffi::AnyBuffer flag, ffi::AnyBuffer vector,
                                ffi::Result<ffi::AnyBuffer> done) {
  if (!is_vector(vector) || flag.size_bytes() == 0 || done->size_bytes() == 0) {
    return wrong_vector();
  }
  *static_cast<uint8_t*>(done->untyped_data()) = 1;
  if (*static_cast<const uint8_t*>(flag.untyped_data()) == 0) {
    return ffi::Error::Success();
  }
  const auto* words = static_cast<const uint64_t*>(vector.untyped_data());
  replica_of(words)->call->out_of_bounds = true;
  return ffi::Error::Success();
}

constexpr int kRead = 0x100, kWrite = 0x200;  // PyBUF_*, in the stable ABI from 3.11

// hook(id, inputs, outputs, printer) with memoryviews; see print_tensor for the last.
inline PyObject* python_hook = nullptr;

inline Ref view_of(void* data, size_t size, int flags) {
  static char nothing;  // a memoryview needs an address even when it is empty
  char* p = size == 0 ? &nothing : static_cast<char*>(data);
  return Ref(PyMemoryView_FromMemory(p, static_cast<Py_ssize_t>(size), flags));
}

inline bool append(PyObject* list, Ref item) {
  return item && PyList_Append(list, item.get()) == 0;
}

constexpr char kPrinterCapsule[] = "nkipy_emulator.printer";

// A capsule by which the hook prints for a replica for as long as it runs.
class PrinterLoan {
 public:
  explicit PrinterLoan(Replica* replica)
      : slot_(new Replica*(replica)),
        capsule_(PyCapsule_New(slot_, kPrinterCapsule, [](PyObject* capsule) {
          delete static_cast<Replica**>(PyCapsule_GetPointer(capsule, kPrinterCapsule));
        })) {
    if (!capsule_) delete slot_;
  }
  ~PrinterLoan() {
    if (capsule_) *slot_ = nullptr;
  }
  PrinterLoan(const PrinterLoan&) = delete;
  PyObject* capsule() const { return capsule_.get(); }

 private:
  Replica** const slot_;
  const Ref capsule_;
};

// print_tensor(printer, rank, prefix, dtype, shape, data): whether it was taken. Nobody
// takes it in a call that has no printer, or has failed. A call that is run for all
// ranks is the first one's, and says which it prints for; others say 0.
inline PyObject* print_tensor(PyObject*, PyObject* args) {
  PyObject *capsule, *dimensions, *data;
  unsigned int rank = 0;
  const char *prefix, *dtype;
  if (!PyArg_ParseTuple(args, "OIssO!O", &capsule, &rank, &prefix, &dtype,
                        &PyTuple_Type, &dimensions, &data)) {
    return nullptr;
  }
  auto** slot = static_cast<Replica**>(PyCapsule_GetPointer(capsule, kPrinterCapsule));
  if (slot == nullptr) return nullptr;
  const Replica* replica = *slot;
  if (replica == nullptr || replica->call->printer == nullptr) Py_RETURN_FALSE;
  if (replica->call->failed) Py_RETURN_TRUE;
  std::vector<uint64_t> shape;
  for (Py_ssize_t i = 0; i < PyTuple_Size(dimensions); ++i) {
    shape.push_back(PyLong_AsUnsignedLongLong(PyTuple_GetItem(dimensions, i)));
  }
  char* bytes = nullptr;
  Py_ssize_t size = 0;
  if (PyErr_Occurred() != nullptr || PyBytes_AsStringAndSize(data, &bytes, &size) < 0) {
    return nullptr;
  }
  const nkipy_printer* printer = replica->call->printer;
  printer->print(printer->context, replica->rank + rank, prefix, dtype, shape.data(),
                 shape.size(), bytes, static_cast<size_t>(size));
  if (PyErr_Occurred() != nullptr) return nullptr;
  Py_RETURN_TRUE;
}

// require_time(printer): fails if the call that the hook runs for has taken too long.
inline PyObject* require_time(PyObject*, PyObject* capsule) {
  auto** slot = static_cast<Replica**>(PyCapsule_GetPointer(capsule, kPrinterCapsule));
  if (slot == nullptr) return nullptr;
  if (*slot != nullptr && !has_time((*slot)->call)) return nullptr;
  Py_RETURN_NONE;
}

inline bool call_hook(int64_t id, ffi::RemainingArgs& args, size_t nargs,
                      ffi::RemainingRets& rets, Replica* replica) {
  Ref inputs(PyList_New(0)), outputs(PyList_New(0)), number(PyLong_FromLongLong(id));
  const PrinterLoan printer(replica);
  if (!inputs || !outputs || !number || printer.capsule() == nullptr) return false;
  for (size_t i = 0; i < nargs; ++i) {
    auto b = args.get<ffi::AnyBuffer>(i);
    if (!append(inputs.get(), view_of(b->untyped_data(), b->size_bytes(), kRead)))
      return false;
  }
  for (size_t i = 0; i < rets.size(); ++i) {
    auto b = rets.get<ffi::AnyBuffer>(i);
    Ref view = view_of((*b)->untyped_data(), (*b)->size_bytes(), kWrite);
    if (!append(outputs.get(), std::move(view))) return false;
  }
  Ref result(or_stop([&] {
    return PyObject_CallFunctionObjArgs(python_hook, number.get(), inputs.get(),
                                        outputs.get(), printer.capsule(), nullptr);
  }));
  return static_cast<bool>(result);
}

inline void zero_fill(ffi::RemainingRets& rets) {
  for (size_t i = 0; i < rets.size(); ++i) {
    auto b = rets.get<ffi::AnyBuffer>(i);
    memset((*b)->untyped_data(), 0, (*b)->size_bytes());
  }
}

// "type: message" of an exception, which is dropped.
inline ffi::Error as_ffi_error(PyObject* exception) {
  Ref text(PyObject_Str(exception));
  Ref bytes(text ? PyUnicode_AsUTF8String(text.get()) : nullptr);
  std::string message = bytes ? PyBytes_AsString(bytes.get()) : "(no message)";
  PyErr_Clear();
  Py_XDECREF(exception);
  return ffi::Error(ffi::ErrorCode::kInternal, "custom call failed: " + message);
}

// A handler registered from Python, which computes as it does outside of XLA's threads,
// subnormal numbers too. With `state`, the last operand is the call vector:
// all have it but those that are applied to elements, by a reduction for example.
//
// With it, a failing handler does not fail the XLA call: other replicas could then wait
// for this one in a collective until XLA aborts the process. It marks the call as
// failed, which stops the stores, and Runner raises the exception when all replicas are
// through.
inline ffi::Error call_python(int64_t id, int64_t has_state, ffi::RemainingArgs args,
                              ffi::RemainingRets rets) {
  if (has_state != 0 && args.size() == 0) return wrong_vector();
  size_t nargs = args.size() - (has_state != 0 ? 1 : 0);
  Replica* replica = nullptr;
  if (has_state != 0) {
    auto vector = args.get<ffi::AnyBuffer>(nargs);
    if (!is_vector(*vector)) return wrong_vector();
    replica = replica_of(static_cast<const uint64_t*>(vector->untyped_data()));
  }
  CallState* state = replica != nullptr ? replica->call : nullptr;
  const NumpyEnvironment environment;
  PyGILState_STATE gil = ensure_lock();
  ffi::Error result = ffi::Error::Success();
  if (state != nullptr && state->failed) {
    zero_fill(rets);
  } else if (!has_time(state) || !call_hook(id, args, nargs, rets, replica)) {
    PyObject* exception = take_exception();
    if (state == nullptr) {
      result = as_ffi_error(exception);
    } else {
      Py_XDECREF(std::exchange(state->error, exception));
      state->failed = true;
      zero_fill(rets);
    }
  }
  PyGILState_Release(gil);
  return result;
}

XLA_FFI_DEFINE_HANDLER(kStore, store,
                       ffi::Ffi::Bind().RemainingArgs().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER(
    kOutOfBounds, out_of_bounds,
    ffi::Ffi::Bind().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER(kCallPython, call_python,
                       ffi::Ffi::Bind()
                           .Attr<int64_t>("id")
                           .Attr<int64_t>("state")
                           .RemainingArgs()
                           .RemainingRets());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_CUSTOM_CALLS_H_
