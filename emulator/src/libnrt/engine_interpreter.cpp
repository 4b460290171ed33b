#include "engine_interpreter.h"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "ended_thread.h"
#include "status.h"
#include "waiting.h"

namespace emulator {
namespace {

using Object = void*;  // PyObject*, strong unless said otherwise

// Functions of CPython, all but the last in its stable ABI.
struct Python {
  int (*is_initialized)();
  int (*gil_ensure)();
  void (*gil_release)(int);
  int (*gil_check)();
  void* (*save_thread)();
  void (*restore_thread)(void*);
  Object (*import_module)(const char*);
  Object (*get_attribute)(Object, const char*);
  void* (*capsule_pointer)(Object, const char*);
  void (*fetch_error)(Object*, Object*, Object*);
  Object (*to_string)(Object);
  const char* (*utf8)(Object, ssize_t*);
  Object (*system_object)(const char*);  // borrowed
  void (*clear_error)();
  void (*drop)(Object);
  void (*share)(Object);
  int (*check_signals)();
  void (*normalize_error)(Object*, Object*, Object*);
  int (*is_finalizing)();
};

template <typename Function>
bool resolve(Function** function, const char* name) {
  *function = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
  return *function != nullptr;
}

bool resolve_all(Python* py) {
  return resolve(&py->is_initialized, "Py_IsInitialized") &&
         resolve(&py->gil_ensure, "PyGILState_Ensure") &&
         resolve(&py->gil_release, "PyGILState_Release") &&
         resolve(&py->gil_check, "PyGILState_Check") &&
         resolve(&py->save_thread, "PyEval_SaveThread") &&
         resolve(&py->restore_thread, "PyEval_RestoreThread") &&
         resolve(&py->import_module, "PyImport_ImportModule") &&
         resolve(&py->get_attribute, "PyObject_GetAttrString") &&
         resolve(&py->capsule_pointer, "PyCapsule_GetPointer") &&
         resolve(&py->fetch_error, "PyErr_Fetch") &&
         resolve(&py->to_string, "PyObject_Str") &&
         resolve(&py->utf8, "PyUnicode_AsUTF8AndSize") &&
         resolve(&py->system_object, "PySys_GetObject") &&
         resolve(&py->clear_error, "PyErr_Clear") && resolve(&py->drop, "Py_DecRef") &&
         resolve(&py->share, "Py_IncRef") &&
         resolve(&py->check_signals, "PyErr_CheckSignals") &&
         resolve(&py->normalize_error, "PyErr_NormalizeException") &&
         // Public from 3.13 on.
         (resolve(&py->is_finalizing, "Py_IsFinalizing") ||
          resolve(&py->is_finalizing, "_Py_IsFinalizing"));
}

// Null if there is no Python in this process. A search that failed is repeated, since a
// program may load Python later; one that found it is not.
const Python* python() {
  static Python table;
  static std::atomic<const Python*> found{nullptr};
  const Python* known = found.load(std::memory_order_acquire);
  if (known != nullptr) return known;
  Python py{};
  if (!resolve_all(&py)) return nullptr;
  static const bool stored = [&py] {
    table = py;
    found.store(&table, std::memory_order_release);
    return true;
  }();
  (void)stored;
  return found.load(std::memory_order_acquire);
}

bool is_alive(const Python* py) {
  return py != nullptr && py->is_initialized() != 0 && py->is_finalizing() == 0;
}

// The pending exception.
Object take_exception(const Python& py) {
  Object type = nullptr, value = nullptr, traceback = nullptr;
  py.fetch_error(&type, &value, &traceback);
  py.normalize_error(&type, &value, &traceback);
  py.drop(type);
  py.drop(traceback);
  return value;
}

std::string take_error(const Python& py) {
  Object value = take_exception(py);
  Object text = value != nullptr ? py.to_string(value) : nullptr;
  const char* utf8 = text != nullptr ? py.utf8(text, nullptr) : nullptr;
  std::string result = utf8 != nullptr ? utf8 : "(no message)";
  py.clear_error();
  for (Object object : {text, value}) py.drop(object);
  return result;
}

// Does what needs the interpreter's lock, which others may get while it runs.
template <typename Action>
auto with_lock(const Python& py, Action action) {
  return or_stop([&] {
    const int gil = py.gil_ensure();
    auto result = action();
    py.gil_release(gil);
    return result;
  });
}

// An import, shared by who waits for it and the thread that does it.
class Import {
 public:
  explicit Import(std::string module) : module_(std::move(module)) {}
  Import(const Import&) = delete;

  void run(const Python& py) {
    with_lock(py, [&] {
      Object imported = py.import_module(module_.c_str());
      if (imported == nullptr) error_ = take_error(py);
      py.drop(imported);  // the interpreter keeps it
      return true;
    });
    const std::lock_guard<std::mutex> lock(mutex_);
    is_done_ = true;
    changed_.notify_all();
  }
  // Throws Interrupted.
  void wait() {
    constexpr auto kNever = std::chrono::steady_clock::time_point::max();
    wait_with_signals(kNever, [this](std::chrono::steady_clock::time_point until) {
      std::unique_lock<std::mutex> lock(mutex_);
      return changed_.wait_until(lock, until, [this] { return is_done_; });
    });
  }
  // Why it has failed; empty if it has not.
  const std::string& error() const { return error_; }

 private:
  const std::string module_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
  std::string error_;
};

// Imports a module. Returns why that has failed; nothing if it has not. Throws
// Interrupted.
//
// The main thread lets another one do it: an extension module whose start is ended by
// what a handler of a signal raises, as jaxlib's, ends the process, then or later. If
// the caller is interrupted, the import goes on without him.
std::string import_apart(const Python& py, const char* module) {
  const auto import = std::make_shared<Import>(module);
  const auto run = [&py, import] { import->run(py); };
  if (getpid() != gettid()) {
    run();
    return import->error();
  }
  const InterpreterPause pause;
  try {
    std::thread(run).detach();
  } catch (const std::system_error&) {  // there is no thread to be had
    run();
  }
  import->wait();
  return import->error();
}

}  // namespace

bool has_interpreter() { return is_alive(python()); }

bool interpreter_has(const char* module) {
  const Python* py = python();
  if (!is_alive(py)) return false;
  return import_apart(*py, module).empty();
}

std::string interpreter_path() {
  const Python* py = python();
  if (!is_alive(py)) return "";
  return with_lock(*py, [py] {
    Object path = py->system_object("executable");
    const char* utf8 = path != nullptr ? py->utf8(path, nullptr) : nullptr;
    std::string result = utf8 != nullptr ? utf8 : "";
    py->clear_error();  // None has no text
    return result;
  });
}

InterpreterPause::InterpreterPause() {
  const Python* py = python();
  // While the interpreter ends, a lock that is given up might not be got back.
  if (is_alive(py) && py->gil_check() != 0) thread_state_ = py->save_thread();
}

InterpreterPause::~InterpreterPause() {
  if (thread_state_ == nullptr) return;
  or_stop([this] { python()->restore_thread(thread_state_); });
}

std::shared_ptr<void> own_object(void* object) {
  return std::shared_ptr<void>(object, [](void* owned) {
    const Python* py = python();
    if (!is_alive(py)) return;
    with_lock(*py, [&] { return py->drop(owned), true; });
  });
}

void* share_object(void* object) {
  const Python* py = python();
  if (object == nullptr || !is_alive(py)) return nullptr;
  return with_lock(*py, [&] { return py->share(object), object; });
}

void check_signals() {
  const Python* py = python();
  if (getpid() != gettid() || !is_alive(py)) return;
  Object raised = with_lock(*py, [py]() -> Object {
    return py->check_signals() != 0 ? take_exception(*py) : nullptr;
  });
  if (raised == nullptr) return;
  throw Interrupted(NRT_FAILURE, "a handler of a signal has raised an exception",
                    own_object(raised));
}

void* import_capsule(const char* module, const char* attribute, const char* name,
                     std::string* error) {
  const Python* py = python();
  if (!is_alive(py)) {
    *error = "there is no Python interpreter in this process";
    return nullptr;
  }
  *error = import_apart(*py, module);
  if (!error->empty()) return nullptr;
  return with_lock(*py, [&] {
    Object imported = py->import_module(module);  // it is there
    Object capsule =
        imported != nullptr ? py->get_attribute(imported, attribute) : nullptr;
    void* pointer = capsule != nullptr ? py->capsule_pointer(capsule, name) : nullptr;
    if (pointer == nullptr) *error = take_error(*py);
    py->drop(capsule);
    py->drop(imported);
    return pointer;
  });
}

}  // namespace emulator
