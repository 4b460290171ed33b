// Executions that go on while the caller does something else.
#pragma once

#include <future>
#include <optional>

#include "model.h"

namespace spike {

/// One submitted execution. Executions on a core run in the order of submission.
///
/// Uses libnrt's explicit async interface where it has the generation that spike knows,
/// else a thread. Keeps the model and the tensors until it is seen to be done.
class AsyncExecution : public Pending {
 public:
  /// Throws what a synchronous execution would throw before it starts, and NrtError
  /// with NRT_QUEUE_FULL when too many are in flight.
  static std::shared_ptr<AsyncExecution> start(const PreparedCall& call);

  bool done() noexcept override;
  void finish() noexcept override;
  /// Blocks until done. Throws NrtError if the execution failed. Idempotent.
  void wait();

  uint64_t sequence = 0;

 private:
  AsyncExecution(const PreparedCall& call, PreparedCall::Pins pins)
      : runtime_(pins.model->runtime), call_(call), pins_(std::move(pins)) {}
  const NrtApi& nrt() const { return *pins_.model->runtime->api; }
  void run_in_thread(const std::shared_ptr<AsyncExecution>& self);
  void await_event() noexcept;
  bool is_completed() noexcept;
  void complete() noexcept;

  const std::weak_ptr<Runtime> runtime_;  // which keeps this while it is in flight
  // Held while libnrt is asked about the execution: closing takes it too, so that
  // whoever holds it and finds the execution not done may call libnrt.
  std::mutex mutex_;
  std::atomic<bool> done_{false};
  std::optional<PreparedCall> call_;
  PreparedCall::Pins pins_;
  int status_ = NRT_SUCCESS;         // libnrt writes it at completion
  std::shared_future<void> thread_;  // valid in the fallback only
};

}  // namespace spike
