// An execution on a thread of its own, which the caller may leave behind: `run_apart`
// of nkipy_emulator/apart.py calls it.

#ifndef NKIPY_EMULATOR_APART_CALL_H_
#define NKIPY_EMULATOR_APART_CALL_H_

#include <memory>
#include <utility>

#include "exit_gate.h"
#include "frame.h"
#include "python_support.h"

namespace nkipy {

// Shared by the caller and the thread; all of it with the interpreter's lock held. What
// is left behind owns the frame and the caller's memory until it has ended.
class ApartCall {
 public:
  // The call, in a capsule; null with an exception set.
  static Ref make(PyObject* execute, std::shared_ptr<void> kept,
                  std::unique_ptr<Frame> frame) {
    auto call = std::make_unique<ApartCall>(execute, std::move(kept), std::move(frame));
    Ref capsule(PyCapsule_New(call.get(), kName, [](PyObject* c) { delete of(c); }));
    if (capsule) call.release();
    return capsule;
  }
  // The function in Python that makes the call; null with an exception set.
  static Ref function(PyObject* capsule) {
    static PyMethodDef run = {"execute", run_in, METH_NOARGS, nullptr};
    return Ref(capsule != nullptr ? PyCFunction_New(&run, capsule) : nullptr);
  }
  static ApartCall* of(PyObject* capsule) {
    return static_cast<ApartCall*>(PyCapsule_GetPointer(capsule, kName));
  }

  ApartCall(PyObject* execute, std::shared_ptr<void> kept, std::unique_ptr<Frame> frame)
      : kept_(std::move(kept)), execute_(share(execute)), frame_(std::move(frame)) {
    exit_gate.admit();
  }
  ~ApartCall() {
    if (!has_begun_ && !has_ended_) exit_gate.give_up();
  }
  ApartCall(const ApartCall&) = delete;

  bool has_ended() const { return has_ended_; }
  bool has_failed() const { return has_failed_; }
  // How long it took.
  Clock::duration taken() const { return taken_; }
  // Of a call that has ended.
  std::unique_ptr<Frame> take_frame() {
    kept_.reset();
    return std::move(frame_);
  }
  // Nobody waits any more. The caller's memory is not written to from here on.
  void leave() {
    is_left_ = true;
    frame_->state.stop();
    if (has_begun_) return exit_gate.forget();
    end();
    exit_gate.give_up();
  }

 private:
  static constexpr char kName[] = "nkipy_emulator.execution";

  static PyObject* run_in(PyObject* capsule, PyObject*) { return of(capsule)->run(); }

  PyObject* run() {
    if (has_ended_) Py_RETURN_NONE;  // left before it began
    has_begun_ = true;
    ++gate_depth;
    const Clock::time_point start = Clock::now();
    PyObject* results = call_xla(execute_.get(), *frame_);
    taken_ = Clock::now() - start;
    has_failed_ = results == nullptr;
    if (is_left_ && results != nullptr) {  // not to be freed outside of the gate
      Py_DECREF(results);
      results = share(Py_None).release();
    }
    end();
    if (is_left_) {
      exit_gate.leave_forgotten();
    } else {
      exit_gate.leave();
    }
    return results;
  }

  void end() {
    has_ended_ = true;
    if (!is_left_) return;
    // An exception is the thread's, where nobody looks at it.
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    Py_CLEAR(frame_->state.error);
    if (frame_->abandoned) frame_.release();
    frame_.reset();
    kept_.reset();
    PyErr_Restore(type, value, traceback);
  }

  std::shared_ptr<void> kept_;
  Ref execute_;
  std::unique_ptr<Frame> frame_;
  Clock::duration taken_{};
  bool has_begun_ = false, has_ended_ = false, has_failed_ = false;
  bool is_left_ = false;
};

// Until a deadline: None for none, and null with an exception set.
inline Ref seconds_until(Clock::time_point deadline) {
  if (deadline == kNoDeadline) return share(Py_None);
  const std::chrono::duration<double> left = deadline - Clock::now();
  return Ref(PyFloat_FromDouble(left.count() > 0 ? left.count() : 0));
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_APART_CALL_H_
