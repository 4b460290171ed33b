// Waiting for executions: who still uses a storage, how often a tensor was written.
//
// Counting costs one atomic operation. Only who has to wait takes a lock.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "engine_interpreter.h"

namespace emulator {

/// Where all waiting threads of the process sleep. Waits are rare, so one serves all.
class Parking {
 public:
  using Clock = std::chrono::steady_clock;

  static Parking& instance();

  /// Sleeps until `ready()` holds; false if the deadline came first. `ready` reads
  /// atomics whose writers call wake() afterwards.
  template <typename Ready>
  bool wait(Ready ready, std::optional<Clock::time_point> deadline = std::nullopt) {
    if (ready()) return true;
    const InterpreterPause pause;
    std::unique_lock<std::mutex> lock(mutex_);
    waiters_.fetch_add(1);
    const bool in_time = sleep(lock, ready, deadline);
    waiters_.fetch_sub(1);
    return in_time;
  }

  /// Lets waiting threads look again. Cheap when nobody waits.
  void wake() noexcept {
    if (waiters_.load() != 0) notify();
  }

 private:
  template <typename Ready>
  bool sleep(std::unique_lock<std::mutex>& lock, Ready& ready,
             std::optional<Clock::time_point> deadline) {
    if (deadline) return changed_.wait_until(lock, *deadline, ready);
    changed_.wait(lock, ready);
    return true;
  }

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

 private:
  friend class PendingUse;
  std::atomic<int> readers_{0};
  std::atomic<int> writers_{0};
};

enum class Use { reads, writes };

/// Marks a storage as used by a queued or running execution, while it exists. The
/// storage must outlive it.
class PendingUse {
 public:
  PendingUse(UseTracker& tracker, Use use) noexcept
      : counter_(use == Use::reads ? &tracker.readers_ : &tracker.writers_) {
    counter_->fetch_add(1);
  }
  PendingUse(PendingUse&& other) noexcept : counter_(other.counter_) {
    other.counter_ = nullptr;
  }
  PendingUse(const PendingUse&) = delete;
  PendingUse& operator=(const PendingUse&) = delete;
  PendingUse& operator=(PendingUse&&) = delete;
  ~PendingUse() {
    if (counter_ && counter_->fetch_sub(1) == 1) Parking::instance().wake();
  }

 private:
  std::atomic<int>* counter_;
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
