// The Python interpreter of this process, if there is one. libnrt does not link
// libpython: the few functions that it needs are looked up in the running process.

#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace emulator {

// Whether a Python interpreter runs in this process and is not about to end.
bool has_interpreter();

// Whether the interpreter, if there is one, can import a module; if so, it has. Throws
// Interrupted.
bool interpreter_has(const char* module);

// The program that runs it, `sys.executable`; empty if that is not known.
std::string interpreter_path();

// Gives up Python's global lock for a scope, if this thread holds it. Whatever waits
// for another thread must do so in such a scope: that thread may need the lock to get
// on.
class InterpreterPause {
 public:
  InterpreterPause();
  ~InterpreterPause();
  InterpreterPause(const InterpreterPause&) = delete;
  InterpreterPause& operator=(const InterpreterPause&) = delete;

 private:
  void* thread_state_ = nullptr;
};

// Owns a strong PyObject*.
std::shared_ptr<void> own_object(void* object);

// A strong reference more to a PyObject*, if it is not null.
void* share_object(void* object);

// If this is the main thread, lets Python's handlers of signals run. Throws Interrupted
// with what one raises. Not to be called with a lock in hand that Python code may want.
void check_signals();

// How long whoever waits does so without check_signals().
constexpr std::chrono::milliseconds kSignalCheck{50};

// The pointer in the capsule `attribute` of Python module `module`. Null with `*error`
// set, if the module cannot be imported or has another capsule. Throws Interrupted.
void* import_capsule(const char* module, const char* attribute, const char* name,
                     std::string* error);

}  // namespace emulator
