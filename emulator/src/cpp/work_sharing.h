// Divides work between the calling thread and those of XLA's pool.

#ifndef NKIPY_EMULATOR_WORK_SHARING_H_
#define NKIPY_EMULATOR_WORK_SHARING_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>

#include "numpy_environment.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Pieces of work, each of which is done once, by whichever thread takes it. A thread
// that comes when all are taken touches nothing but this, which it shares.
class SharedWork {
 public:
  // `run(context, piece)` may throw bad_alloc, and nothing else.
  using Run = void (*)(const void* context, size_t piece);

  SharedWork(Run run, const void* context, size_t pieces)
      : run_(run), context_(context), pieces_(pieces) {}

  void take_pieces() {
    size_t done = 0;
    for (size_t i = next_++; i < pieces_; i = next_++, ++done) run_piece(i);
    if (done == 0 || (done_ += done) != pieces_) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    all_done_.notify_all();
  }

  // Pieces that are not done are under way in running threads: the wait has an end,
  // also if it is one of the pool's threads that waits.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == pieces_; });
  }

  bool has_failed() const { return failed_; }

 private:
  void run_piece(size_t piece) {
    const NumpyEnvironment environment;
    try {
      if (!failed_) run_(context_, piece);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
  }

  const Run run_;
  const void* const context_;
  const size_t pieces_;
  std::atomic<size_t> next_{0}, done_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

inline size_t threads_of(const xla::ffi::ThreadPool& pool) {
  return static_cast<size_t>(std::max<int64_t>(pool.num_threads(), 1));
}

// Calls `function(piece)` for each piece from 0 on. False without memory.
template <typename Function>
bool share_work(xla::ffi::ThreadPool& pool, size_t pieces, const Function& function) {
  const SharedWork::Run run = [](const void* context, size_t piece) {
    (*static_cast<const Function*>(context))(piece);
  };
  const size_t helpers = std::min(threads_of(pool), pieces) - (pieces == 0 ? 0 : 1);
  if (helpers == 0) {
    SharedWork work(run, &function, pieces);
    work.take_pieces();
    return !work.has_failed();
  }
  std::shared_ptr<SharedWork> work;
  try {
    work = std::make_shared<SharedWork>(run, &function, pieces);
    for (size_t i = 0; i < helpers; ++i) pool.Schedule([work] { work->take_pieces(); });
  } catch (const std::bad_alloc&) {
    if (!work) return false;  // else fewer threads take the pieces
  }
  work->take_pieces();
  work->wait();
  return !work->has_failed();
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORK_SHARING_H_
