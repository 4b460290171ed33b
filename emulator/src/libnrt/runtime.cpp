#include "runtime.h"

#include <pthread.h>

#include "engine_interpreter.h"
#include "log.h"
#include "session.h"
#include "status.h"

namespace emulator {
namespace {

/// How many calls this thread is inside of: a callback may call again.
thread_local int call_depth = 0;

}  // namespace

Runtime& Runtime::instance() {
  static Runtime* const runtime = new Runtime;
  return *runtime;
}

Runtime::Runtime() { pthread_atfork(nullptr, nullptr, after_fork_in_child); }

void Runtime::after_fork_in_child() noexcept {
  // Threads, locks and perhaps half-made changes of the parent are not the child's: it
  // may use nothing of them. Only the copies of the core locks are let go, so that the
  // cores are free as soon as the parent ends.
  Runtime& runtime = instance();
  const State state = runtime.state_.load();
  if (state == State::uninitialised || state == State::closed) return;
  runtime.state_ = State::forked;
  if (runtime.session_) runtime.session_->abandon();
}

void Runtime::initialise() {
  if (forked()) {
    throw StatusError(NRT_FAILURE,
                      "this process was forked from one that had initialised the "
                      "runtime; start it anew (spawn) instead");
  }
  const InterpreterPause pause;
  std::lock_guard<std::mutex> lock(lifecycle_);
  const State before = state_.load();
  if (before == State::running) {
    throw StatusError(NRT_INVALID, "the runtime is initialised already");
  }
  state_ = State::initialising;
  try {
    session_ = std::make_unique<Session>(Environment::read());
  } catch (...) {
    state_ = before;
    throw;
  }
  state_ = State::running;
}

void Runtime::close() {
  if (call_depth > 0) {
    EMULATOR_LOG(nrt, error, "nrt_close", "called from within a call: ignored");
    return;
  }
  if (!running()) return;
  const InterpreterPause pause;  // calls under way may need the interpreter to end
  std::lock_guard<std::mutex> lock(lifecycle_);
  State expected = State::running;
  if (!state_.compare_exchange_strong(expected, State::closing)) return;
  session_->begin_close();
  wait_for_calls();
  session_->finish_close();
  session_.reset();
  state_ = State::closed;
}

void Runtime::wait_for_calls() {
  std::unique_lock<std::mutex> lock(calls_mutex_);
  calls_ended_.wait(lock, [this] { return calls_.load() == 0; });
}

NRT_STATUS Runtime::enter(Session** session) noexcept {
  // Counted before looking: close() changes the state, then waits for the count.
  calls_.fetch_add(1);
  const State state = state_.load();
  const bool nested = state == State::closing && call_depth > 0;
  if (state == State::running || nested) {
    ++call_depth;
    *session = session_.get();
    return NRT_SUCCESS;
  }
  leave_count();
  const bool closed = state == State::closing || state == State::closed;
  return closed ? NRT_CLOSED : NRT_UNINITIALIZED;
}

void Runtime::leave() noexcept {
  --call_depth;
  leave_count();
}

void Runtime::leave_count() noexcept {
  if (calls_.fetch_sub(1) != 1 || state_.load() != State::closing) return;
  {
    std::lock_guard<std::mutex> lock(calls_mutex_);
  }
  calls_ended_.notify_all();
}

}  // namespace emulator
