// The process's runtime: initialised or not, and the calls under way.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "nrt/nrt.h"

namespace emulator {

class Session;

/// There is one per process; it is never destroyed, so that calls during exit are safe.
class Runtime {
 public:
  static Runtime& instance();

  /// nrt_init. Throws StatusError.
  void initialise();
  /// nrt_close: waits until calls under way have ended. Does nothing when not running.
  void close();

  /// Begins a call: NRT_SUCCESS and the session, which stays valid until leave(); or
  /// NRT_UNINITIALIZED or NRT_CLOSED, and leave() must not be called.
  NRT_STATUS enter(Session** session) noexcept;
  void leave() noexcept;

  /// True in a child process that was forked from an initialised one: nothing works.
  bool forked() const noexcept { return state_.load() == State::forked; }
  bool running() const noexcept { return state_.load() == State::running; }

 private:
  enum class State { uninitialised, initialising, running, closing, closed, forked };

  Runtime();
  static void after_fork_in_child() noexcept;
  void wait_for_calls();
  void leave_count() noexcept;

  std::atomic<State> state_{State::uninitialised};
  std::atomic<std::int64_t> calls_{0};
  std::mutex lifecycle_;  // one init or close at a time
  std::mutex calls_mutex_;
  std::condition_variable calls_ended_;
  std::unique_ptr<Session> session_;
};

/// A call under way, for as long as it exists.
class Call {
 public:
  Call() noexcept : status_(Runtime::instance().enter(&session_)) {}
  ~Call() {
    if (status_ == NRT_SUCCESS) Runtime::instance().leave();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  NRT_STATUS status() const noexcept { return status_; }
  Session& session() const noexcept { return *session_; }

 private:
  Session* session_ = nullptr;
  NRT_STATUS status_;
};

}  // namespace emulator
