// The end of the interpreter, and threads that are inside calls: daemon threads, which
// nobody joins. See ended_thread.h for what Python does to them.

#ifndef NKIPY_EMULATOR_EXIT_GATE_H_
#define NKIPY_EMULATOR_EXIT_GATE_H_

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "../libnrt/ended_thread.h"
#include "python_support.h"

namespace nkipy {

using emulator::or_stop;
using emulator::stop_for_good;

// How long the end of the interpreter waits for calls that are under way: nobody wants
// what they compute any more.
constexpr std::chrono::seconds kExitPatience{1};
// How long a call that comes then waits for that end.
constexpr std::chrono::seconds kEndPatience{5};

// How many scopes of the gate this thread is in.
inline thread_local int gate_depth = 0;

// Has a thread that the end of the interpreter did not wait for stop where it is, if it
// is inside of jaxlib, whose destructors would abort the process.
inline std::terminate_handler usual_terminate = nullptr;

[[noreturn]] inline void stop_or_terminate() {
  if (gate_depth > 0 && !Py_IsInitialized()) stop_for_good();
  if (usual_terminate != nullptr) usual_terminate();
  abort();
}

// Keeps calls out of an interpreter that is about to end, and its end from overtaking
// calls. The thread that ends it is let in until it has ended: for `atexit`.
class Gate {
 public:
  bool enter() {
    if (gate_depth == 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (closed_ && !is_closer()) return false;
      ++inside_;
    }
    ++gate_depth;
    return true;
  }
  void leave() {
    if (--gate_depth == 0) give_up();
  }
  // One thread more is inside, for this one, which is: a thread that it starts, which
  // gets past the gate by ++gate_depth and leaves as any other, or by
  // leave_forgotten(). If it never runs, give_up() is what it would have done.
  void admit() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++inside_;
  }
  void give_up() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }
  // The end of the interpreter need not wait for a thread that was admitted.
  void forget() {
    give_up();
    ++forgotten_;
  }
  void leave_forgotten() {
    --gate_depth;
    --forgotten_;
  }
  void close() {
    std::unique_lock<std::mutex> lock(mutex_);
    closer_ = std::this_thread::get_id();
    const bool is_first = !std::exchange(closed_, true);
    const auto patience = is_first ? kExitPatience : std::chrono::seconds(0);
    const bool is_empty =
        empty_.wait_for(lock, patience, [this] { return inside_ == 0; });
    if (is_empty && forgotten_ == 0) return;
    auto before = std::set_terminate(stop_or_terminate);
    if (before != stop_or_terminate) usual_terminate = before;
  }
  // A forked child has none of the other threads that were inside.
  void forget_threads() {
    new (&mutex_) std::mutex;
    new (&empty_) std::condition_variable;
    inside_ = gate_depth > 0 ? 1 : 0;
    forgotten_ = 0;
  }

 private:
  bool is_closer() const {
    return closer_ == std::this_thread::get_id() && Py_IsInitialized();
  }

  std::mutex mutex_;
  std::condition_variable empty_;
  std::thread::id closer_;
  int inside_ = 0;
  std::atomic<int> forgotten_{0};
  bool closed_ = false;
};

inline Gate exit_gate;

inline void restore_thread(PyThreadState* thread) {
  or_stop([thread] { PyEval_RestoreThread(thread); });
}

inline PyGILState_STATE ensure_lock() {
  return or_stop([] { return PyGILState_Ensure(); });
}

// Enters the gate with the interpreter's lock held. If that is about to end, the thread
// most likely ends with it here; else, as when somebody waits for it, false with an
// exception set.
inline bool enter_or_end() {
  if (exit_gate.enter()) return true;
  PyThreadState* thread = PyEval_SaveThread();
  std::this_thread::sleep_for(kEndPatience);
  restore_thread(thread);
  PyErr_SetString(PyExc_RuntimeError, "the Python interpreter is about to end");
  return false;
}

// The gate, for a scope with the interpreter's lock held.
class Passage {
 public:
  Passage() : open_(enter_or_end()) {}
  ~Passage() {
    if (open_) exit_gate.leave();
  }
  Passage(const Passage&) = delete;
  explicit operator bool() const { return open_; }

 private:
  bool open_;
};

// enter_gate() and leave_gate(): for calls of jaxlib's that Python makes.
inline PyObject* enter_gate(PyObject*, PyObject*) {
  if (!enter_or_end()) return nullptr;
  Py_RETURN_NONE;
}

inline PyObject* leave_gate(PyObject*, PyObject*) {
  exit_gate.leave();
  Py_RETURN_NONE;
}

// close_gate(): waits for calls that are under way, and keeps out further ones.
inline PyObject* close_gate(PyObject*, PyObject*) {
  PyThreadState* thread = PyEval_SaveThread();
  exit_gate.close();
  restore_thread(thread);
  Py_RETURN_NONE;
}

inline void note_forks_at_gate() {
  static const bool registered =
      pthread_atfork(nullptr, nullptr, [] { exit_gate.forget_threads(); }) == 0;
  (void)registered;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_EXIT_GATE_H_
