// The lock that a caller holds, and gives up while it waits.
#pragma once

namespace spike {

/// A lock that threads come with, as Python's do, and that a thread which waits must
/// give up: what it waits for may need it to get on.
struct CallersLock {
  /// Gives it up if this thread holds it; returns what `take` needs, null if nothing.
  void* (*release)();
  void (*take)(void*);
  /// Throws if this thread, which may hold it, is to give up waiting.
  void (*check_interrupt)();
};
/// To be set before anything else of spike's is called.
inline CallersLock callers_lock{[]() -> void* { return nullptr; }, nullptr, [] {}};

/// Gives up the caller's lock for a scope that may wait.
class Unlocked {
 public:
  Unlocked() = default;
  ~Unlocked() {
    if (state_) callers_lock.take(state_);
  }
  Unlocked(const Unlocked&) = delete;

 private:
  void* const state_ = callers_lock.release();
};

}  // namespace spike
