#include "execute.h"

#include "execute_nan.h"
#include "status.h"
#include "trace_execution.h"

namespace emulator {
namespace {

std::vector<Place> places_of(const std::vector<Operand>& operands) {
  std::vector<Place> places;
  places.reserve(operands.size());
  for (const Operand& operand : operands) {
    const TensorView& view = operand.view;
    const std::uint64_t shared = view.storage->shared_offset();
    places.push_back({view.data(),
                      shared == Backing::kNotShared ? shared : shared + view.offset,
                      view.size});
  }
  return places;
}

std::string in_quotes(const std::string& name) { return "'" + name + "'"; }

}  // namespace

Execution::Execution(Session& session, std::shared_ptr<Model> model,
                     const TensorSet& inputs, const TensorSet& outputs)
    : session_(session),
      model_(std::move(model)),
      turn_(std::in_place, session.core(model_->core()).execution) {
  const std::shared_ptr<const Binding> binding = model_->bind(inputs, outputs);
  const ProgramDescription& program = model_->description();
  inputs_ = take(binding->inputs, program.inputs, Use::reads);
  outputs_ = take(binding->outputs, program.outputs, Use::writes);
  input_places_ = places_of(inputs_);
  output_places_ = places_of(outputs_);
}

std::vector<Operand> Execution::take(const std::vector<std::weak_ptr<Tensor>>& tensors,
                                     const std::vector<TensorSpec>& specs, Use use) {
  std::vector<Operand> operands;
  operands.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::shared_ptr<Tensor> tensor = tensors[i].lock();
    if (!tensor) {
      throw StatusError(NRT_INVALID, "tensor " + in_quotes(specs[i].name) +
                                         " was freed while a tensor set holds it");
    }
    TensorView view = tensor->view();
    check(view, specs[i]);
    operands.emplace_back(std::move(tensor), std::move(view), use);
  }
  return operands;
}

void Execution::check(const TensorView& view, const TensorSpec& spec) const {
  if (!view.storage) {
    throw StatusError(NRT_INVALID, "tensor " + in_quotes(spec.name) +
                                       " has no storage; attach a buffer to it");
  }
  if (view.size != spec.bytes) {
    throw StatusError(NRT_EXEC_BAD_INPUT,
                      "tensor " + in_quotes(spec.name) + " should have " +
                          std::to_string(spec.bytes) + " bytes; received " +
                          std::to_string(view.size));
  }
  const int core = view.storage->core();
  if (core >= 0 && core != model_->core()) {
    throw StatusError(NRT_INVALID, "tensor " + in_quotes(spec.name) + " is on core " +
                                       std::to_string(core) +
                                       "; the model is loaded on core " +
                                       std::to_string(model_->core()));
  }
}

void Execution::run(int times) {
  wait_for_turn();
  const Clock::time_point start = Clock::now();
  try {
    execute(times);
  } catch (...) {
    leave();
    throw;
  }
  for (Operand& output : outputs_) output.tensor->completions().increment();
  check_time((Clock::now() - start) / times);
  if (session_.environment().fail_on_nan) check_results();
}

// What was left behind may still read memory that is to be written.
void Execution::wait_for_turn() {
  const auto timeout = session_.environment().execution_timeout;
  const Clock::time_point deadline = Clock::now() + timeout;
  bool is_free = turn_->wait(deadline);
  for (const Operand& output : outputs_) {
    const UseTracker& uses = output.view.storage->uses();
    const auto ready = [&] { return !uses.is_left_in_use() || session_.closing(); };
    is_free = is_free && Parking::instance().wait(ready, deadline);
    if (uses.is_left_in_use() && session_.closing()) {
      throw StatusError(NRT_CLOSED, "nrt_close was called meanwhile");
    }
  }
  if (is_free) return;
  throw StatusError(NRT_TIMEOUT, "core " + std::to_string(model_->core()) +
                                     " was busy for more than " +
                                     std::to_string(timeout.count()) +
                                     " s (NEURON_RT_EXEC_TIMEOUT)");
}

// After a failure. If an execution goes on, it stores nothing, and the core is free for
// others; but one of several ranks may.
void Execution::leave() {
  if (model_->description().ranks != 1) return;
  outputs_.clear();
  for (Operand& input : inputs_) input.pending.leave();
  turn_.reset();
}

void Execution::execute(int times) {
  const auto timeout = session_.environment().execution_timeout;
  const auto stopping = [this] { return session_.closing(); };
  for (int i = 0; i < times; ++i) {
    if (i == 1) feed_back();
    trace::ObservedRun observed(session_.core(model_->core()), *model_);
    model_->seat().execute(
        {&input_places_, &output_places_, shared_from_this(), model_->core()},
        Clock::now() + timeout, stopping);
    observed.done();
  }
}

// What was quick before is not left at the timeout, and what calls functions in Python
// only if it is in a loop that may never end: that it took too long is found when it is
// over.
void Execution::check_time(Clock::duration taken) const {
  const auto timeout = session_.environment().execution_timeout;
  if (taken <= timeout) return;
  throw StatusError(NRT_TIMEOUT, "model " + in_quotes(model_->description().name) +
                                     " took longer than the " +
                                     std::to_string(timeout.count()) +
                                     " s of NEURON_RT_EXEC_TIMEOUT");
}

// From the second iteration on: an input that an output is an alias of, or without any
// aliases the input at the output's position, is what the output was.
void Execution::feed_back() {
  auto pairs = model_->description().aliases;
  if (pairs.empty()) {
    for (std::size_t i = 0; i < input_places_.size() && i < output_places_.size();
         ++i) {
      if (input_places_[i].size == output_places_[i].size) pairs.emplace_back(i, i);
    }
  }
  for (const auto& [output, input] : pairs) {
    input_places_[input] = output_places_[output];
  }
}

void Execution::check_results() const {
  const auto& specs = model_->description().outputs;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!has_nan(specs[i].dtype, output_places_[i].address, specs[i].bytes)) continue;
    trace::record_numerical_error(model_->core(), model_->id());
    throw StatusError(NRT_EXEC_COMPLETED_WITH_NUM_ERR,
                      "output " + in_quotes(specs[i].name) + " of model " +
                          in_quotes(model_->description().name) +
                          " has NaN (NEURON_FAIL_ON_NAN)");
  }
}

}  // namespace emulator
