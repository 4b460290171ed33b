// Divides work between the calling thread and the workers.

#ifndef NKIPY_EMULATOR_WORK_SHARING_H_
#define NKIPY_EMULATOR_WORK_SHARING_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "numpy_environment.h"
#include "workers.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Pieces of work, each of which is done once, by whichever thread takes it: the caller
// from the first one on, others from the last. Where calls on the same memory come one
// after another, each core then finds much of its own in its caches.
template <typename Function>
class Pieces final : public SharedJob {
 public:
  // `function(piece)`, of so many pieces from the first one on, may throw bad_alloc,
  // and nothing else.
  Pieces(const Function& function, size_t first, uint32_t count)
      : function_(function), first_(first), end_(count) {}

  void take_pieces() noexcept override {
    const NumpyEnvironment environment;
    for (uint32_t piece; take_last(&piece);) run_piece(piece);
  }
  // For the caller.
  void take_first_pieces(bool one = false) noexcept {
    const NumpyEnvironment environment;
    for (uint32_t piece; take_first(&piece);) {
      run_piece(piece);
      if (one) return;
    }
  }
  bool has_failed() const { return failed_; }

 private:
  bool take_first(uint32_t* piece) {
    const uint64_t taken = ends_.fetch_add(kFirst);
    *piece = static_cast<uint32_t>(taken / kFirst);
    return is_left(taken);
  }
  bool take_last(uint32_t* piece) {
    const uint64_t taken = ends_.fetch_add(kLast);
    *piece = end_ - 1 - static_cast<uint32_t>(taken % kFirst);
    return is_left(taken);
  }
  bool is_left(uint64_t taken) const { return taken / kFirst + taken % kFirst < end_; }

  void run_piece(size_t piece) noexcept {
    try {
      if (!failed_) function_(first_ + piece);
    } catch (const std::bad_alloc&) {
      failed_ = true;
    }
  }

  // How many the caller has taken, and how many others have.
  static constexpr uint64_t kFirst = uint64_t{1} << 32, kLast = 1;

  const Function& function_;
  const size_t first_;
  const uint32_t end_;
  std::atomic<uint64_t> ends_{0};
  std::atomic<bool> failed_{false};
};

inline size_t threads_of(const xla::ffi::ThreadPool& pool) {
  return static_cast<size_t>(std::max<int64_t>(pool.num_threads(), 1));
}

// From so many pieces for each thread on, one is a small part of the work.
constexpr size_t kManyPieces = 4;

// Pieces that are counted at once.
constexpr size_t kMostPieces = size_t{1} << 31;

// As share_among, of no more pieces than kMostPieces, from the first one on.
template <typename Function>
bool share_some(size_t threads, size_t first, size_t pieces, const Function& function,
                bool are_short) {
  Pieces<Function> work(function, first, static_cast<uint32_t>(pieces));
  const size_t helpers = std::min(threads, pieces) - (pieces == 0 ? 0 : 1);
  if (helpers == 0) {
    work.take_first_pieces();
    return !work.has_failed();
  }
  Workers::Clock::duration left = Workers::Clock::duration::max();
  const bool tries_one = are_short || pieces >= kManyPieces * threads;
  if (tries_one && !workers.are_looking()) {
    const auto start = Workers::Clock::now();
    work.take_first_pieces(true);
    left = (Workers::Clock::now() - start) * (pieces - 1);
  }
  workers.offer(work, threads, helpers, left);
  work.take_first_pieces();
  workers.finish(work);
  return !work.has_failed();
}

// Calls `function(piece)` for each piece from 0 on, in up to `threads` threads. False
// without memory. Of pieces that are many, or `short`, one is done to see how long all
// will take, before threads are woken for the rest.
template <typename Function>
bool share_among(size_t threads, size_t pieces, const Function& function,
                 bool are_short = false) {
  size_t first = 0;
  do {
    const size_t some = std::min(kMostPieces, pieces - first);
    if (!share_some(threads, first, some, function, are_short)) return false;
    first += some;
  } while (first < pieces);
  return true;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORK_SHARING_H_
