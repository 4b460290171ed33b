#include "prepared_call.h"

#include <chrono>

namespace spike {
namespace {

// A result would be lost in silence.
void refuse_overlaps(const NamedTensors& outputs) {
  for (auto second = outputs.begin(); second != outputs.end(); ++second)
    for (auto first = outputs.begin(); first != second; ++first)
      if (first->second->extent.overlaps(second->second->extent))
        throw std::invalid_argument("Outputs " + first->first + " and " +
                                    second->first +
                                    ": expected tensors of memory of their own, got "
                                    "the same or overlapping tensors");
}

}  // namespace

PreparedCall::PreparedCall(const NrtModel& model, const NamedTensors& inputs,
                           const NamedTensors& outputs,
                           const std::vector<TensorPin>& others)
    : core_id(model.core_id), tensors_(others.begin(), others.end()) {
  ModelPin pinned = model.pin("Unable to execute an unloaded model");
  model_ = pinned;
  inputs_ = NrtTensorSet::make(pinned->runtime, inputs);
  for (auto& [name, tensor] : inputs) tensors_.push_back(tensor);
  set_outputs(pinned->runtime, outputs);
}

PreparedCall PreparedCall::with_outputs(const Pins& pins,
                                        const NamedTensors& outputs) const {
  PreparedCall call = *this;
  call.tensors_.resize(tensors_.size() - output_count_);
  call.set_outputs(pins.model->runtime, outputs);
  return call;
}

void PreparedCall::set_outputs(const std::shared_ptr<NrtRuntime>& runtime,
                               const NamedTensors& outputs) {
  refuse_overlaps(outputs);
  outputs_ = NrtTensorSet::make(runtime, outputs);
  output_count_ = outputs.size();
  for (auto& [name, tensor] : outputs) tensors_.push_back(tensor);
}

bool PreparedCall::try_pin(Pins& pins) const {
  pins.model = model_.lock();
  pins.tensors.reserve(tensors_.size());
  bool alive = pins.model && pins.model->runtime->is_open();
  for (auto tensor = tensors_.begin(); alive && tensor != tensors_.end(); ++tensor) {
    pins.tensors.push_back(tensor->lock());
    alive = pins.tensors.back() != nullptr;
  }
  return alive;
}

PreparedCall::Pins PreparedCall::pin() const {
  const char* refusal = "Unable to execute an unloaded model or with a freed tensor";
  Pins pins;
  if (try_pin(pins)) return pins;
  if (pins.model) pins.model->runtime->require_open(refusal);
  throw SpikeError(std::string(refusal) +
                   ": the model or a tensor of this prepared call is gone.");
}

void PreparedCall::execute(const Pins& pins) const {
  Use nrt(pins.model->runtime, "Unable to execute a model");
  check_execution(*nrt, pins, nrt->nrt_execute(pins.model->model, inputs(), outputs()));
}

void PreparedCall::check_execution(const NrtApi& api, const Pins& pins,
                                   int status) const {
  check(status, "Failed to execute model",
        [&] { return describe_model(api, pins.model->neff_path, core_id); });
}

void PreparedCall::profile(const std::string& file) const {
  Pins pins = pin();
  Use nrt(pins.model->runtime, "Unable to profile a model");
  check(nrt->nrt_profile_start(pins.model->model, file.c_str()),
        "Failed to start profile");
  int status = nrt->nrt_execute(pins.model->model, inputs(), outputs());
  int stopped = nrt->nrt_profile_stop(file.c_str());
  check_execution(*nrt, pins, status);
  check(stopped, "Failed to stop profile");
}

std::vector<double> PreparedCall::benchmark(int warmup, int iterations) const {
  using Clock = std::chrono::steady_clock;
  if (warmup < 0 || iterations < 1)
    throw std::invalid_argument(
        "benchmark needs at least one iteration and no negative number of warmup "
        "iterations");
  Pins pins = pin();
  const Unlocked unlocked;
  for (int i = 0; i < warmup; ++i) execute(pins);
  std::vector<double> durations(iterations);
  for (double& duration : durations) {
    auto start = Clock::now();
    execute(pins);
    duration = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
  return durations;
}

}  // namespace spike
