// What libnrt calls when it lives in the process of this extension: the functions of
// engine_api.h. Loading goes through `nkipy_emulator.device`; executing does not.

#ifndef NKIPY_EMULATOR_DEVICE_CALLS_H_
#define NKIPY_EMULATOR_DEVICE_CALLS_H_

#include <pthread.h>
#include <string.h>

#include <string>

#include "../libnrt/engine_api.h"
#include "exit_gate.h"
#include "python_support.h"
#include "runner.h"

struct nkipy_program {
  nkipy::Ref runner;
  nkipy::Ref estimate;  // estimate() -> text
  nkipy::Core* core;
};

namespace nkipy {

constexpr int kNrtFailure = 1, kNrtResource = 4, kNrtClosed = 14;

// Device tensors come back call after call, so that importing them pays off early.
constexpr size_t kDeviceInPlaceFrom = 4096;

// See make_device_api.
inline PyObject* device_load = nullptr;
inline PyObject* device_all_gather = nullptr;
inline PyObject* device_close = nullptr;
// error(exception, phase) -> (status, text, whether a handler of a signal has raised
// it)
inline PyObject* device_error = nullptr;

// Set in a child that was forked after programs were loaded: it has an XLA that is of
// no use to it.
inline bool is_useless_fork = false;

// The interpreter's lock, held for a scope, if the gate lets us in.
class Entry {
 public:
  Entry() : open_(!is_useless_fork && exit_gate.enter()) {
    if (open_) gil_ = ensure_lock();
  }
  ~Entry() {
    if (!open_) return;
    PyGILState_Release(gil_);
    exit_gate.leave();
  }
  Entry(const Entry&) = delete;
  explicit operator bool() const { return open_; }

 private:
  bool open_;
  PyGILState_STATE gil_{};
};

inline int refuse_entry(char** text) {
  *text = strdup("the Python interpreter that runs programs has ended or was forked");
  return kNrtClosed;
}

inline char* copy_text(PyObject* string) {
  Ref bytes(PyUnicode_AsUTF8String(string));
  const char* text = bytes ? PyBytes_AsString(bytes.get()) : nullptr;
  if (text == nullptr) PyErr_Clear();
  return strdup(text != nullptr ? text : "(no message)");
}

// The status that stands for the pending exception, which is dropped, and its text. If
// a handler of a signal has raised it, `*interrupt` becomes a strong reference to it;
// that is known of those that are no Exception, as KeyboardInterrupt is none.
inline int report_error(const char* phase, bool is_interrupted, char** text,
                        void** interrupt) {
  is_interrupted = is_interrupted || !PyErr_ExceptionMatches(PyExc_Exception);
  Ref error(take_exception());
  Ref name(PyUnicode_FromString(phase));
  Ref pair;
  if (error && name) {
    pair = Ref(
        PyObject_CallFunctionObjArgs(device_error, error.get(), name.get(), nullptr));
  }
  int status = 0, is_raised_by_handler = 0;
  PyObject* message = nullptr;
  const bool is_told = pair && PyArg_ParseTuple(pair.get(), "iOp", &status, &message,
                                                &is_raised_by_handler);
  if (is_interrupted || is_raised_by_handler != 0) *interrupt = error.release();
  if (!is_told) {
    PyErr_Clear();
    *text = strdup("an error whose text could not be made");
    return kNrtFailure;
  }
  *text = copy_text(message);
  return status;
}

inline nkipy_program* load_program(const void* neff, size_t size, const char* options,
                                   char** description) {
  auto* bytes = static_cast<char*>(const_cast<void*>(neff));
  Ref view(PyMemoryView_FromMemory(bytes, static_cast<Py_ssize_t>(size), kRead));
  Ref text(PyUnicode_FromString(options));
  if (!view || !text) return nullptr;
  Ref parts(emulator::or_stop([&] {
    return PyObject_CallFunctionObjArgs(device_load, view.get(), text.get(), nullptr);
  }));
  PyObject *runner = nullptr, *description_text = nullptr, *estimate = nullptr;
  if (!parts ||
      !PyArg_ParseTuple(parts.get(), "OOO", &runner, &description_text, &estimate)) {
    return nullptr;
  }
  auto program = std::make_unique<nkipy_program>();
  Py_INCREF(runner);
  program->runner = Ref(runner);
  Py_INCREF(estimate);
  program->estimate = Ref(estimate);
  program->core = reinterpret_cast<RunnerObject*>(runner)->core;
  *description = copy_text(description_text);
  return program.release();
}

inline int device_api_load(const void* neff, size_t size, const char* options,
                           nkipy_program** program, char** text, void** interrupt) {
  Entry entry;
  if (!entry) return refuse_entry(text);
  try {
    *program = load_program(neff, size, options, text);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    *program = nullptr;
  }
  if (*program != nullptr) return 0;
  return report_error("load", false, text, interrupt);
}

inline std::vector<Span> spans_at(const uint64_t* addresses,
                                  const std::vector<size_t>& sizes, size_t count,
                                  size_t replicas) {
  std::vector<Span> spans(count * replicas);
  for (size_t i = 0; i < spans.size(); ++i) {
    spans[i] = {static_cast<uintptr_t>(addresses[i]), sizes[i % count]};
  }
  return spans;
}

// Executes with the interpreter's lock held; false with an exception set.
inline bool run_at(Core* core, const uint64_t* inputs, const uint64_t* outputs,
                   const Keep& keep, const nkipy_printer* printer,
                   Clock::time_point deadline = kNoDeadline) {
  try {
    return core->run_spans(
        spans_at(inputs, core->inputs, core->given(), core->replicas),
        spans_at(outputs, core->outputs, core->outputs.size(), core->replicas),
        kDeviceInPlaceFrom, keep, deadline, printer);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return false;
  }
}

inline int device_api_execute(nkipy_program* program, const uint64_t* inputs,
                              const uint64_t* outputs, uint64_t timeout_ms,
                              const nkipy_keeper* keeper, const nkipy_printer* printer,
                              char** error, void** interrupt) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  Entry entry;
  if (!entry) return refuse_entry(error);
  const auto keep = [keeper] {
    return std::shared_ptr<void>(keeper->keep(keeper->context), keeper->release);
  };
  if (run_at(program->core, inputs, outputs, keep, printer, deadline)) return 0;
  return report_error("execute", program->core->is_interrupted, error, interrupt);
}

inline int device_api_estimate(nkipy_program* program, char** text) {
  Entry entry;
  if (!entry) return refuse_entry(text);
  Ref made(PyObject_CallFunctionObjArgs(program->estimate.get(), nullptr));
  if (!made) {
    void* interrupt = nullptr;
    const int status = report_error("load", false, text, &interrupt);
    Ref dropped(static_cast<PyObject*>(interrupt));
    return status;
  }
  *text = copy_text(made.get());
  return 0;
}

inline int device_api_all_gather(const char* meeting, const void* data, size_t size,
                                 void* result, size_t result_size, char** text,
                                 void** interrupt) {
  Entry entry;
  if (!entry) return refuse_entry(text);
  Ref given(PyBytes_FromStringAndSize(static_cast<const char*>(data),
                                      static_cast<Py_ssize_t>(size)));
  Ref words(PyUnicode_FromString(meeting));
  Ref all;
  if (given && words) {
    all = Ref(emulator::or_stop([&] {
      return PyObject_CallFunctionObjArgs(device_all_gather, words.get(), given.get(),
                                          nullptr);
    }));
  }
  char* bytes = nullptr;
  Py_ssize_t length = 0;
  if (!all || PyBytes_AsStringAndSize(all.get(), &bytes, &length) != 0) {
    return report_error("execute", false, text, interrupt);
  }
  if (static_cast<size_t>(length) != result_size) {
    *text = strdup("the ranks gave another number of bytes");
    return kNrtFailure;
  }
  if (length != 0) memcpy(result, bytes, result_size);
  return 0;
}

inline void device_api_close() {
  Entry entry;
  if (!entry) return;
  Ref done(emulator::or_stop(
      [] { return PyObject_CallFunctionObjArgs(device_close, nullptr); }));
  if (!done) PyErr_Clear();
}

inline void device_api_unload(nkipy_program* program) {
  Entry entry;
  // Without an interpreter to give it back to, the program ends with the process.
  if (entry) delete program;
}

inline nkipy_device_api device_api = {
    NKIPY_DEVICE_API_VERSION, device_api_load,  device_api_execute, device_api_estimate,
    device_api_all_gather,    device_api_close, device_api_unload};

// device_api(load, error, all_gather, close): the capsule that libnrt asks for. What is
// called is load(neff, options) -> (runner, description, estimate),
// all_gather(meeting, data) -> bytes and close().
inline PyObject* make_device_api(PyObject*, PyObject* args) {
  PyObject* given[4];
  if (!PyArg_ParseTuple(args, "OOOO", &given[0], &given[1], &given[2], &given[3])) {
    return nullptr;
  }
  PyObject** const kept[] = {&device_load, &device_error, &device_all_gather,
                             &device_close};
  for (size_t i = 0; i < 4; ++i) {
    Py_INCREF(given[i]);
    Py_XDECREF(std::exchange(*kept[i], given[i]));
  }
  static const bool registered =
      pthread_atfork(nullptr, nullptr, [] { is_useless_fork = true; }) == 0;
  (void)registered;
  return PyCapsule_New(&device_api, NKIPY_DEVICE_API_CAPSULE, nullptr);
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_DEVICE_CALLS_H_
