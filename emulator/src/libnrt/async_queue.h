// Queues of asynchronous requests: a thread for each, first in, first out.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "nrt/nrt_async.h"

namespace emulator {

class Session;

/// One queue of one execution unit of a core. Safe to use from many threads.
class RequestQueue {
 public:
  /// Requests that a queue holds before it is full.
  static constexpr std::size_t kDepth = 63;

  /// Does a request's work and returns its status. Must not throw.
  using Work = std::function<NRT_STATUS()>;
  /// Is told of each completion, on the queue's thread, before `status` is read.
  using Observer = std::function<void(nrta_seq_t, NRT_STATUS)>;

  /// `unit` is the number that sequences of this queue begin with.
  explicit RequestQueue(std::uint16_t unit) : unit_(unit) {}
  ~RequestQueue() { stop(); }
  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;

  /// Adds a request; its status is written to `*status` (if not null) when it is done.
  /// `make` prepares the work once there is room for it, and may throw. Throws
  /// StatusError: NRT_QUEUE_FULL; NRT_EXEC_UNIT_UNRECOVERABLE once a request ended so.
  nrta_seq_t submit(Session& session, const std::function<Work()>& make,
                    NRT_STATUS* status, Observer observer = nullptr);

  /// Throws StatusError(NRT_INVALID) if the number was not given out.
  bool is_completed(std::uint64_t number);
  /// The last completed request's sequence; number 0 before the first.
  nrta_seq_t last_completed();
  /// Signals `event_fd` when the request is done, at once if it is; -1 undoes that.
  void notify(std::uint64_t number, int event_fd);
  /// Signals `event_fd` at every completion; a negative one ends that.
  void notify_all(int event_fd);
  /// Waits until nothing is queued or running. Throws Interrupted.
  void drain();
  /// Ends the thread: the running request is finished, queued ones get NRT_CLOSED.
  void stop() noexcept;

 private:
  struct Request {
    Work work;
    NRT_STATUS* status;
    Observer observer;
  };

  nrta_seq_t sequence(std::uint64_t number) const noexcept {
    return (static_cast<nrta_seq_t>(unit_) << NRTA_SEQ_NUM_BITS) | number;
  }
  void check_issued(std::uint64_t number) const;
  void start(Session& session);
  void serve();
  void await_request(std::unique_lock<std::mutex>& lock);
  NRT_STATUS perform(Request* request);
  void complete(Request* request, NRT_STATUS status);

  const std::uint16_t unit_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  std::deque<Request> requests_;           // the front one may be running
  std::atomic<bool> has_requests_{false};  // may be read without the mutex
  std::uint64_t issued_ = 0;               // number of the last request
  std::uint64_t completed_ = 0;            // number of the last one that is done
  std::map<std::uint64_t, std::vector<int>> waiting_;  // event descriptors by number
  int event_fd_ = -1;                                  // for every completion
  bool unrecoverable_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

/// The queues of one core.
class CoreQueues {
 public:
  explicit CoreQueues(int core);

  /// Throws StatusError(NRT_INVALID) if the unit has no such queue.
  RequestQueue& queue(nrta_xu_t unit, int index);

 private:
  friend RequestQueue& queue_of_sequence(Session& session, nrta_seq_t sequence);
  static constexpr int kQueues = 6;  // 2 of tensor operations, 1 compute, 3 collectives

  std::array<RequestQueue, kQueues> queues_;
};

/// The queue that gave out a sequence. Throws StatusError(NRT_INVALID) if none did.
RequestQueue& queue_of_sequence(Session& session, nrta_seq_t sequence);

/// A sequence's number within its queue.
inline std::uint64_t number_of(nrta_seq_t sequence) noexcept {
  return sequence & NRTA_SEQ_NUM_MAX;
}

}  // namespace emulator
