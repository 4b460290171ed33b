// Threads that help others with their work.

#ifndef NKIPY_EMULATOR_WORKERS_H_
#define NKIPY_EMULATOR_WORKERS_H_

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace nkipy {

// For a moment that is too short to sleep.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  for (int i = 0; i < 8; ++i) _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// What several threads can do at once. It lives in the caller of Workers::share().
class SharedJob {
 public:
  // Does pieces of it until none is left.
  virtual void take_pieces() noexcept = 0;

 protected:
  ~SharedJob() = default;

 private:
  friend class Workers;
  SharedJob* next_ = nullptr;        // of those that want help
  size_t wanted_ = 0;                // threads, further ones
  std::atomic<size_t> attached_{0};  // threads that help
};

// Threads that sleep, or look for work for a moment where jobs come one after another:
// to wake one takes longer than many a job. A process has them once, from the first job
// that is worth their start; they never end.
class Workers {
 public:
  using Clock = std::chrono::steady_clock;

  // How long a thread looks for the next job before it sleeps, and how long a caller
  // does for the end of what others are at.
  static constexpr std::chrono::microseconds kPatience{50};
  // What is worth waking a thread for: once, or for more such jobs.
  static constexpr std::chrono::microseconds kWorthWaking{100}, kWorthSharing{8};
  // From so many jobs on, each within kPatience of the last, more are expected.
  static constexpr uint32_t kSeries = 3;

  // Up to `helpers` threads that have the time take part, from here to finish(), unless
  // there are as many callers as `threads` anyway. With what is `left` to do, sleeping
  // ones are woken only if that is worth it.
  void offer(SharedJob& job, size_t threads, size_t helpers, Clock::duration left) {
    const size_t callers = ++callers_;
    if (callers >= threads) return;
    helpers = std::min(helpers, threads - callers);
    const bool is_series = note_begin();
    const bool wakes = left >= kWorthWaking || (is_series && left >= kWorthSharing);
    if (!wakes && looking_ == 0) return;
    size_t sleeping;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (wakes) start_threads(helpers);
      job.wanted_ = helpers;
      job.next_ = jobs_;
      jobs_ = &job;
      ++offered_;
      sleeping = sleeping_;
    }
    const size_t looking = looking_;
    for (size_t i = looking; wakes && sleeping > 0 && i < helpers; ++i, --sleeping) {
      work_.notify_one();
    }
  }

  // Waits for the threads that take part in `job`: all of its pieces are taken.
  void finish(SharedJob& job) {
    withdraw(job);
    const Clock::time_point end = Clock::now() + kPatience;
    while (job.attached_ != 0 && Clock::now() < end) relax();
    if (job.attached_ != 0) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++waiting_;
      left_.wait(lock, [&] { return job.attached_ == 0; });
      --waiting_;
    }
    --callers_;
    last_end_ = Clock::now().time_since_epoch().count();
  }

  // Whether threads look for work that would otherwise sleep.
  bool are_looking() const { return looking_ != 0; }

  // A forked child has none of the threads.
  void forget_threads() {
    new (&mutex_) std::mutex;
    new (&work_) std::condition_variable;
    new (&left_) std::condition_variable;
    jobs_ = nullptr;
    threads_ = sleeping_ = 0;
    offered_ = looking_ = waiting_ = callers_ = 0;
  }

 private:
  // Whether this job is one of a series.
  bool note_begin() {
    const Clock::duration gap =
        Clock::now().time_since_epoch() - Clock::duration(last_end_.load());
    if (gap >= kPatience) {
      series_ = 0;
    } else if (series_ < kSeries) {
      ++series_;
    }
    return series_ >= kSeries;
  }

  void start_threads(size_t count) {
    sigset_t all, before;
    if (threads_ >= count) return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);  // signals are for other threads
    try {
      while (threads_ < count) {
        std::thread([this] { work(); }).detach();
        ++threads_;
      }
    } catch (const std::system_error&) {  // the caller has fewer helpers
    } catch (const std::bad_alloc&) {
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void withdraw(SharedJob& job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (SharedJob** at = &jobs_; *at != nullptr; at = &(*at)->next_) {
      if (*at != &job) continue;
      *at = job.next_;
      --offered_;
      return;
    }
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      if (jobs_ == nullptr) {
        ++sleeping_;
        work_.wait(lock);
        --sleeping_;
      }
      // One that comes too late for a job of a series is in time for the next.
      while (SharedJob* job = attach_or_look(lock)) {
        lock.unlock();
        job->take_pieces();
        // The job may be gone from here on.
        if (--job->attached_ == 0 && waiting_ != 0) {
          const std::lock_guard<std::mutex> again(mutex_);
          left_.notify_all();
        }
        lock.lock();
      }
    }
  }

  SharedJob* attach_or_look(std::unique_lock<std::mutex>& lock) {
    if (jobs_ == nullptr && series_ >= kSeries) {
      lock.unlock();
      look();
      lock.lock();
    }
    return attach();
  }

  // The job that this thread helps with from here on; null if none wants help.
  SharedJob* attach() {
    if (jobs_ == nullptr) return nullptr;
    SharedJob* job = jobs_;
    ++job->attached_;
    if (--job->wanted_ == 0) {
      jobs_ = job->next_;
      --offered_;
    }
    return job;
  }

  // Looks for a job for a while.
  void look() {
    ++looking_;
    const Clock::time_point end = Clock::now() + kPatience;
    while (offered_ == 0 && Clock::now() < end) relax();
    --looking_;
  }

  std::mutex mutex_;
  std::condition_variable work_, left_;
  SharedJob* jobs_ = nullptr;
  size_t threads_ = 0, sleeping_ = 0;
  std::atomic<size_t> offered_{0}, looking_{0}, waiting_{0}, callers_{0};
  std::atomic<uint32_t> series_{0};
  std::atomic<Clock::rep> last_end_{0};
};

// Never destroyed: its threads may outlive all else.
inline Workers& workers = *new Workers;

inline void note_forks_of_workers() {
  static const bool registered =
      pthread_atfork(nullptr, nullptr, [] { workers.forget_threads(); }) == 0;
  (void)registered;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORKERS_H_
