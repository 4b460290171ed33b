#include "async_queue.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "engine_interpreter.h"
#include "session.h"
#include "status.h"
#include "waiting.h"

namespace emulator {
namespace {

constexpr int kUnitsPerCore = 8;
// To wake a sleeping thread takes longer than many a request: for so long a queue's
// thread looks for another one instead, letting other threads run in between.
constexpr std::chrono::microseconds kSpin{50};

void signal_event(int event_fd) noexcept {
  const std::uint64_t one = 1;
  // A descriptor that the caller closed, or whose counter is full, is none of ours.
  [[maybe_unused]] const ssize_t written = write(event_fd, &one, sizeof one);
}

std::uint16_t unit_number(int core, int queue) {
  return static_cast<std::uint16_t>(core * kUnitsPerCore + queue + 1);
}

// Queues of an execution unit: where they begin among a core's, and how many there are.
struct UnitQueues {
  int first;
  int count;
};

UnitQueues queues_of(nrta_xu_t unit) {
  switch (unit) {
    case NRTA_XU_TENSOR_OP:
      return {0, 2};
    case NRTA_XU_COMPUTE:
      return {2, 1};
    case NRTA_XU_COLLECTIVES:
      return {3, 3};
    default:
      throw StatusError(NRT_INVALID, "there is no execution unit " +
                                         std::to_string(static_cast<int>(unit)));
  }
}

}  // namespace

nrta_seq_t RequestQueue::submit(Session& session, const std::function<Work()>& make,
                                NRT_STATUS* status, Observer observer) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (unrecoverable_) {
    throw StatusError(NRT_EXEC_UNIT_UNRECOVERABLE,
                      "an earlier request left the execution unit unusable; "
                      "initialise the runtime again");
  }
  if (stopping_) throw StatusError(NRT_CLOSED, "the runtime is being closed");
  if (requests_.size() >= kDepth) {
    throw StatusError(NRT_QUEUE_FULL, "the queue holds " + std::to_string(kDepth) +
                                          " requests; wait for one to complete");
  }
  requests_.push_back({make(), status, std::move(observer)});
  try {
    start(session);
  } catch (...) {
    requests_.pop_back();
    throw;
  }
  has_requests_ = true;
  changed_.notify_all();
  return sequence(++issued_);
}

void RequestQueue::start(Session& session) {
  if (thread_.joinable()) return;
  session.on_close([this] { stop(); });
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error& error) {
    throw StatusError(NRT_RESOURCE,
                      std::string("no thread for a queue: ") + error.what());
  }
}

void RequestQueue::await_request(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + kSpin;
  while (!has_requests_ && Clock::now() < end) sched_yield();
  lock.lock();
  changed_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
}

void RequestQueue::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    await_request(lock);
    if (requests_.empty()) return;
    // References into a deque survive additions at its end.
    Request& request = requests_.front();
    const bool refused = stopping_ || unrecoverable_;
    const NRT_STATUS reason = stopping_ ? NRT_CLOSED : NRT_EXEC_UNIT_UNRECOVERABLE;
    lock.unlock();
    const NRT_STATUS status = refused ? reason : perform(&request);
    lock.lock();
    complete(&request, status);
  }
}

// Lets go of what the work holds before anyone learns that it is done: tensors are free
// to be used then.
NRT_STATUS RequestQueue::perform(Request* request) {
  const NRT_STATUS status = request->work();
  request->work = nullptr;
  if (request->observer) request->observer(sequence(completed_ + 1), status);
  return status;
}

void RequestQueue::complete(Request* request, NRT_STATUS status) {
  if (request->status != nullptr) *request->status = status;
  if (status == NRT_EXEC_UNIT_UNRECOVERABLE) unrecoverable_ = true;
  requests_.pop_front();
  has_requests_ = !requests_.empty();
  ++completed_;
  const auto waiting = waiting_.find(completed_);
  if (waiting != waiting_.end()) {
    for (const int event_fd : waiting->second) signal_event(event_fd);
    waiting_.erase(waiting);
  }
  if (event_fd_ >= 0) signal_event(event_fd_);
  changed_.notify_all();
}

void RequestQueue::check_issued(std::uint64_t number) const {
  if (number != 0 && number <= issued_) return;
  throw StatusError(NRT_INVALID, "sequence number " + std::to_string(number) +
                                     " was never given out");
}

bool RequestQueue::is_completed(std::uint64_t number) {
  std::lock_guard<std::mutex> lock(mutex_);
  check_issued(number);
  return number <= completed_;
}

nrta_seq_t RequestQueue::last_completed() {
  std::lock_guard<std::mutex> lock(mutex_);
  return sequence(completed_);
}

void RequestQueue::notify(std::uint64_t number, int event_fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  check_issued(number);
  if (event_fd < 0) {
    waiting_.erase(number);
  } else if (number <= completed_) {
    signal_event(event_fd);
  } else {
    waiting_[number].push_back(event_fd);
  }
}

void RequestQueue::notify_all(int event_fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  event_fd_ = event_fd;
}

void RequestQueue::drain() {
  using Time = std::chrono::steady_clock::time_point;
  const InterpreterPause pause;
  wait_with_signals(Time::max(), [this](Time until) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_until(lock, until, [this] { return requests_.empty(); });
  });
}

void RequestQueue::stop() noexcept {
  const InterpreterPause pause;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

CoreQueues::CoreQueues(int core)
    : queues_{RequestQueue(unit_number(core, 0)), RequestQueue(unit_number(core, 1)),
              RequestQueue(unit_number(core, 2)), RequestQueue(unit_number(core, 3)),
              RequestQueue(unit_number(core, 4)), RequestQueue(unit_number(core, 5))} {}

RequestQueue& CoreQueues::queue(nrta_xu_t unit, int index) {
  const UnitQueues queues = queues_of(unit);
  if (index < 0 || index >= queues.count) {
    throw StatusError(NRT_INVALID, "queue " + std::to_string(index) +
                                       " does not exist; the unit has queues 0 to " +
                                       std::to_string(queues.count - 1));
  }
  return queues_[static_cast<std::size_t>(queues.first + index)];
}

RequestQueue& queue_of_sequence(Session& session, nrta_seq_t sequence) {
  const int unit = static_cast<int>(sequence >> NRTA_SEQ_NUM_BITS) - 1;
  const int core = unit / kUnitsPerCore, queue = unit % kUnitsPerCore;
  if (unit < 0 || core >= session.core_count() || queue >= CoreQueues::kQueues) {
    throw StatusError(NRT_INVALID,
                      "sequence " + std::to_string(sequence) + " was never given out");
  }
  return session.core(core).queues.queues_[static_cast<std::size_t>(queue)];
}

}  // namespace emulator
