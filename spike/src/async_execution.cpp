#include "async_execution.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <thread>

namespace spike {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kComputeQueue = 0;
// In case that an event is lost, and for signals, completion is looked up after so many
// milliseconds.
constexpr int kPoll = 100;
// To wake a sleeping thread takes longer than many an execution: for so long whoever
// waits asks again and again instead, letting other threads run in between.
constexpr std::chrono::microseconds kSpin{50};

/// Whether `ready()` holds, at once or soon.
template <class Ready>
bool spin(Ready ready) {
  for (auto end = Clock::now() + kSpin; !ready(); sched_yield())
    if (Clock::now() >= end) return false;
  return true;
}

}  // namespace

/// The executions of one core, by a thread, where libnrt has no async interface.
class ThreadQueue {
 public:
  static ThreadQueue& of(int core) {
    // Never destroyed, and nor are the threads: they sleep when the process ends.
    static auto* mutex = new std::mutex;
    static auto* queues = new std::map<int, ThreadQueue>;
    std::lock_guard lock(*mutex);
    return (*queues)[core];
  }

  void submit(std::shared_ptr<AsyncExecution> execution) {
    std::lock_guard lock(mutex_);
    if (!std::exchange(started_, true)) std::thread([this] { serve(); }).detach();
    execution->is_in_thread_ = true;
    execution->sequence = ++count_;
    executions_.push_back(std::move(execution));
    ++waiting_;
    changed_.notify_one();
  }

 private:
  [[noreturn]] void serve() {
    for (;;) {
      spin([this] { return waiting_ > 0; });
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return waiting_ > 0; });
      auto execution = std::move(executions_.front());
      executions_.pop_front();
      --waiting_;
      lock.unlock();
      execution->execute();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<AsyncExecution>> executions_;
  std::atomic<int> waiting_{0};
  uint64_t count_ = 0;
  bool started_ = false;
};

std::shared_ptr<AsyncExecution> AsyncExecution::start(PinnedCall call) {
  std::shared_ptr<NrtRuntime> runtime = call.model->runtime;
  Use nrt(runtime, "Unable to execute a model");
  std::shared_ptr<AsyncExecution> made(new AsyncExecution(std::move(call)));
  const PinnedCall& kept = *made->call_;
  if (nrt->has_async())
    check(nrt->nrta_execute_schedule(kept.model->model, kept.inputs->get(),
                                     kept.outputs->get(), kComputeQueue, &made->status_,
                                     &made->sequence),
          "Failed to schedule model execution");
  else
    ThreadQueue::of(kept.model->placement.core_id).submit(made);
  runtime->track(made);
  return made;
}

// Not PinnedCall::execute: closing waits for this, and would refuse it a use.
void AsyncExecution::execute() noexcept {
  status_ = call_->run();
  executed_ = true;
  if (event_ >= 0) eventfd_write(event_, 1);
}

bool AsyncExecution::done() noexcept {
  const Unlocked unlocked;
  auto runtime = runtime_.lock();
  return runtime && runtime->is_open() ? see_whether_done() : done_.load();
}

bool AsyncExecution::wait(int64_t most) {
  if (auto runtime = runtime_.lock(); !done_ && runtime && runtime->is_forked())
    runtime->require_open("Unable to wait for an execution");
  const auto start = Clock::now();
  for (int64_t left = most; !(left == 0 ? done() : sleep(left));) {
    callers_lock.check_interrupt();
    if (left == 0) return false;
    if (most > 0)
      left = std::max<int64_t>(0, most - (Clock::now() - start) / milliseconds(1));
  }
  check(status_, "Asynchronous model execution failed");
  return true;
}

/// Until it is done or the time is over, at most for kPoll. Whether it is done.
bool AsyncExecution::sleep(int64_t most) noexcept {
  const Unlocked unlocked;
  if (spin([this] { return see_whether_done(); })) return true;
  pollfd event{make_event(), POLLIN, 0};
  int time = most < 0 ? kPoll : static_cast<int>(std::min<int64_t>(most, kPoll));
  if (!see_whether_done()) poll(&event, 1, time);
  return see_whether_done();
}

int AsyncExecution::make_event() noexcept {
  std::lock_guard lock(mutex_);
  if (done_ || event_ >= 0) return event_;
  event_ = eventfd(0, EFD_CLOEXEC);
  if (!is_in_thread_) nrt().nrta_event_register_seq_id_completion(sequence, event_);
  return event_;
}

bool AsyncExecution::is_completed() noexcept {
  if (is_in_thread_) return executed_;
  bool completed = false;
  NRT_STATUS status = nrt().nrta_is_completed(sequence, &completed);
  if (status != NRT_SUCCESS) status_ = status;  // it will never be completed
  return completed || status != NRT_SUCCESS;
}

bool AsyncExecution::see_whether_done() noexcept {
  std::lock_guard lock(mutex_);
  if (done_ || !is_completed()) return done_;
  if (event_ >= 0 && !is_in_thread_)
    nrt().nrta_event_register_seq_id_completion(sequence, -1);
  done_ = true;
  call_.reset();
  return true;
}

}  // namespace spike
