// Waiting for executions: who still uses a storage, how often a tensor was written.
//
// Counting costs one atomic operation. Only who has to wait takes a lock.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include "engine_interpreter.h"

namespace emulator {

/// Waits with `wait_until(time)`, which says whether it has come what is waited for;
/// false if the deadline came first. Throws Interrupted.
template <typename WaitUntil>
bool wait_with_signals(std::chrono::steady_clock::time_point deadline,
                       WaitUntil wait_until) {
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    if (wait_until(deadline - now > kSignalCheck ? now + kSignalCheck : deadline)) {
      return true;
    }
    if (std::chrono::steady_clock::now() >= deadline) return false;
    check_signals();
  }
}

/// Where all waiting threads of the process sleep. Waits are rare, so one serves all.
class Parking {
 public:
  using Clock = std::chrono::steady_clock;

  static Parking& instance();

  /// Sleeps until `ready()` holds; false if the deadline came first. `ready` reads
  /// atomics whose writers call wake() afterwards. Throws Interrupted.
  template <typename Ready>
  bool wait(Ready ready, Clock::time_point deadline = Clock::time_point::max()) {
    if (ready()) return true;
    const InterpreterPause pause;
    return wait_with_signals(deadline, [&](Clock::time_point until) {
      std::unique_lock<std::mutex> lock(mutex_);
      waiters_.fetch_add(1);
      const bool in_time = changed_.wait_until(lock, until, ready);
      waiters_.fetch_sub(1);
      return in_time;
    });
  }

  /// Lets waiting threads look again. Cheap when nobody waits.
  void wake() noexcept {
    if (waiters_.load() != 0) notify();
  }

 private:
  void notify() noexcept;

  std::atomic<int> waiters_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Which pending executions read and write a storage.
class UseTracker {
 public:
  bool readable() const noexcept { return writers_.load() == 0; }
  bool writable() const noexcept { return readable() && readers_.load() == 0; }
  /// Whether an execution that nobody waits for reads it still.
  bool is_left_in_use() const noexcept { return leftovers_.load() != 0; }

 private:
  friend class PendingUse;
  std::atomic<int> readers_{0};  // leftovers too
  std::atomic<int> writers_{0};
  std::atomic<int> leftovers_{0};
};

enum class Use { reads, writes };

/// Marks a storage as used by a queued or running execution, while it exists. The
/// storage must outlive it.
class PendingUse {
 public:
  PendingUse(UseTracker& tracker, Use use) noexcept
      : counter_(use == Use::reads ? &tracker.readers_ : &tracker.writers_),
        leftovers_(&tracker.leftovers_) {
    counter_->fetch_add(1);
  }
  PendingUse(PendingUse&& other) noexcept
      : counter_(std::exchange(other.counter_, nullptr)),
        leftovers_(other.leftovers_),
        is_left_(other.is_left_) {}
  PendingUse(const PendingUse&) = delete;
  PendingUse& operator=(const PendingUse&) = delete;
  PendingUse& operator=(PendingUse&&) = delete;
  ~PendingUse() {
    if (!counter_) return;
    if (is_left_) leftovers_->fetch_sub(1);
    if (counter_->fetch_sub(1) == 1 || is_left_) Parking::instance().wake();
  }
  /// Nobody waits for the execution any more.
  void leave() noexcept {
    is_left_ = true;
    leftovers_->fetch_add(1);
  }

 private:
  std::atomic<int>* counter_;
  std::atomic<int>* leftovers_;
  bool is_left_ = false;
};

/// How many executions have written a tensor since the last reset.
class CompletionCounter {
 public:
  std::uint64_t count() const noexcept { return count_.load(); }
  void reset() noexcept { count_.store(0); }
  void increment() noexcept {
    count_.fetch_add(1);
    Parking::instance().wake();
  }

 private:
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace emulator
