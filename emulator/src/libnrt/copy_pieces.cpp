#include "copy_pieces.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace emulator {
namespace {

class Job {
 public:
  Job(std::size_t count, const std::function<void(std::size_t)>& piece)
      : count_(count), piece_(piece) {}

  /// Takes pieces until none is left. Does not touch `piece_` then, which may be gone.
  void work() noexcept {
    for (std::size_t i = next_++; i < count_; i = next_++) {
      piece_(i);
      std::lock_guard<std::mutex> lock(mutex_);
      if (++done_ == count_) all_done_.notify_one();
    }
  }

  /// Waits for the pieces that helpers took.
  void wait() noexcept {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == count_; });
  }

 private:
  const std::size_t count_;
  const std::function<void(std::size_t)>& piece_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  std::size_t done_ = 0;
};

/// A job with helpers at work on it; null if there is no memory for one.
std::shared_ptr<Job> start_job(std::size_t count, std::size_t helpers,
                               const std::function<void(std::size_t)>& piece) noexcept {
  std::shared_ptr<Job> job;
  try {
    job = std::make_shared<Job>(count, piece);
    for (std::size_t i = 0; i < helpers; ++i) {
      std::thread([job] { job->work(); }).detach();
    }
  } catch (const std::exception&) {  // no memory, or no thread: fewer helpers
  }
  return job;
}

}  // namespace

void run_pieces(std::size_t count, std::size_t helpers,
                const std::function<void(std::size_t)>& piece) noexcept {
  const auto job = helpers > 0 ? start_job(count, helpers, piece) : nullptr;
  if (job) {
    job->work();
    job->wait();
  } else {
    for (std::size_t i = 0; i < count; ++i) piece(i);
  }
}

}  // namespace emulator
