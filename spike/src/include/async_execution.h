// Executions that go on while the caller does something else.
#pragma once

#include <unistd.h>

#include <optional>

#include "prepared_call.h"

namespace spike {

/// One submitted execution. Executions on a core run in the order of submission.
///
/// Uses libnrt's explicit async interface where it has the generation that spike knows,
/// else a thread for each core. Keeps the model and the tensors until it is seen to be
/// done. Safe to use from many threads.
class AsyncExecution : public Pending {
 public:
  /// Throws what a synchronous execution would throw before it starts, and NrtError
  /// with NRT_QUEUE_FULL when too many are in flight.
  static std::shared_ptr<AsyncExecution> start(PinnedCall call);
  ~AsyncExecution() {
    if (event_ >= 0) ::close(event_);
  }

  bool done() noexcept override;
  bool done_soon() noexcept override { return sleep(-1); }
  /// Waits for so many milliseconds, for ever if it is negative, not at all if it is 0.
  /// Whether it is done. Throws NrtError if it failed, what the caller's lock throws to
  /// end the waiting, and SpikeError in a child of the process that started it.
  bool wait(int64_t milliseconds);

  uint64_t sequence = 0;

 private:
  friend class ThreadQueue;
  explicit AsyncExecution(PinnedCall call)
      : runtime_(call.model->runtime), call_(std::move(call)) {}
  const NrtApi& nrt() const { return *call_->model->runtime->api; }
  void execute() noexcept;
  bool sleep(int64_t milliseconds) noexcept;
  int make_event() noexcept;
  bool is_completed() noexcept;
  bool see_whether_done() noexcept;

  const std::weak_ptr<NrtRuntime> runtime_;  // which keeps this while it is in flight
  // Held while libnrt is asked about the execution. Closing sees the end of it, so that
  // whoever holds this and finds the execution not done may call libnrt.
  std::mutex mutex_;
  std::atomic<bool> done_{false};
  std::optional<PinnedCall> call_;
  NRT_STATUS status_ = NRT_SUCCESS;  // libnrt writes it at completion
  bool is_in_thread_ = false;
  std::atomic<bool> executed_{false};  // by the thread
  std::atomic<int> event_{-1};         // readable once it is done
};

}  // namespace spike
