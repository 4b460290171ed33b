#include "async_execution.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <thread>

namespace spike {
namespace {

constexpr int kComputeQueue = 0;
// In case that libnrt's event is lost, completion is looked up after this time.
constexpr int kPollMilliseconds = 100;

// The last execution that a thread runs for each core; the next waits for it.
struct ThreadQueues {
  std::mutex mutex;
  std::map<int, std::shared_future<void>> last;
  uint64_t count = 0;
};

ThreadQueues& thread_queues() {
  static auto* queues = new ThreadQueues;
  return *queues;
}

}  // namespace

std::shared_ptr<AsyncExecution> AsyncExecution::start(const PreparedCall& call) {
  PreparedCall::Pins pins = call.pin();
  std::shared_ptr<Runtime> runtime = pins.model->runtime;
  nrt_model_t* model = pins.model->model;
  Use nrt(runtime, "Unable to execute a model");
  std::shared_ptr<AsyncExecution> made(new AsyncExecution(call, std::move(pins)));
  if (nrt->has_async())
    check(nrt->nrta_execute_schedule(model, call.inputs(), call.outputs(),
                                     kComputeQueue, &made->status_, &made->sequence),
          "Failed to schedule model execution");
  else
    made->run_in_thread(made);
  runtime->track(made);
  return made;
}

void AsyncExecution::run_in_thread(const std::shared_ptr<AsyncExecution>& self) {
  auto finished = std::make_shared<std::promise<void>>();
  thread_ = finished->get_future().share();
  ThreadQueues& queues = thread_queues();
  std::lock_guard lock(queues.mutex);
  auto& last = queues.last[call_->core_id];
  sequence = ++queues.count;
  std::thread([self = std::shared_ptr(self), finished, previous = last]() mutable {
    if (previous.valid()) previous.wait();
    // Not PreparedCall::execute: closing waits for this, and would refuse it a use.
    self->status_ = self->nrt().nrt_execute(
        self->pins_.model->model, self->call_->inputs(), self->call_->outputs());
    self.reset();
    finished->set_value();
  }).detach();
  last = thread_;
}

bool AsyncExecution::done() noexcept {
  WithoutGil without_gil;
  auto runtime = runtime_.lock();
  if (!runtime || !runtime->is_open()) return done_;
  std::unique_lock lock(mutex_, std::try_to_lock);  // else somebody waits for it
  if (!done_ && lock && is_completed()) complete();
  return done_;
}

void AsyncExecution::finish() noexcept {
  WithoutGil without_gil;
  std::lock_guard lock(mutex_);
  if (done_) return;
  if (thread_.valid())
    thread_.wait();
  else
    await_event();
  complete();
}

void AsyncExecution::wait() {
  auto runtime = runtime_.lock();
  // Closing sees the end of it, so only a fork leaves one that is not done.
  if (runtime && !done_ && runtime->is_forked())
    runtime->require_open("Unable to wait for an execution");
  finish();
  check(status_, "Asynchronous model execution failed");
}

bool AsyncExecution::is_completed() noexcept {
  if (thread_.valid())
    return thread_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  bool completed = false;
  int status = nrt().nrta_is_completed(sequence, &completed);
  if (status != NRT_SUCCESS) status_ = status;  // it will never be completed
  return completed || status != NRT_SUCCESS;
}

void AsyncExecution::await_event() noexcept {
  pollfd event{eventfd(0, EFD_CLOEXEC), POLLIN, 0};
  nrt().nrta_event_register_seq_id_completion(sequence, event.fd);
  while (!is_completed()) poll(&event, 1, kPollMilliseconds);
  nrt().nrta_event_register_seq_id_completion(sequence, -1);
  if (event.fd >= 0) ::close(event.fd);
}

void AsyncExecution::complete() noexcept {
  done_ = true;
  call_.reset();
  pins_ = {};
}

}  // namespace spike
