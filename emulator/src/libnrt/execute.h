// One execution of a model: prepared on the caller's thread, run there or on another.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine.h"
#include "execute_line.h"
#include "model.h"
#include "session.h"
#include "tensor.h"

namespace emulator {

/// A tensor that an execution uses. Keeps its memory, and marks it as in use.
struct Operand {
  Operand(std::shared_ptr<Tensor> used, TensorView seen, Use use)
      : tensor(std::move(used)),
        view(std::move(seen)),
        pending(view.storage->uses(), use) {}

  std::shared_ptr<Tensor> tensor;
  TensorView view;
  PendingUse pending;  // ends before the view's storage can
};

/// An execution under way, from its submission on: it holds its place in the core's
/// line, the model, and every tensor until it is destroyed. What goes on after the
/// caller was interrupted, or has waited too long, has a share of it: then it keeps the
/// model and the inputs, and nothing of the session.
class Execution : public std::enable_shared_from_this<Execution> {
 public:
  /// Checks the tensors against the model. Throws StatusError: NRT_INVALID for a
  /// tensor that is missing, was freed or is on another core, NRT_EXEC_BAD_INPUT for
  /// one of another size.
  Execution(Session& session, std::shared_ptr<Model> model, const TensorSet& inputs,
            const TensorSet& outputs);
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  /// Waits for the core, executes `times` times and counts the completion. What an
  /// iteration computes, the next one gets as input. Throws StatusError, and
  /// Interrupted.
  void run(int times = 1);

  const Model& model() const noexcept { return *model_; }

 private:
  using Clock = std::chrono::steady_clock;

  std::vector<Operand> take(const std::vector<std::weak_ptr<Tensor>>& tensors,
                            const std::vector<TensorSpec>& specs, Use use);
  void check(const TensorView& view, const TensorSpec& spec) const;
  void wait_for_turn();
  void execute(int times);
  void leave();
  void feed_back();
  void check_time(Clock::duration taken) const;
  void check_results() const;

  Session& session_;
  const std::shared_ptr<Model> model_;
  std::vector<Operand> inputs_, outputs_;
  std::vector<Place> input_places_, output_places_;
  std::optional<Turn> turn_;  // last to come, first to go
};

}  // namespace emulator
