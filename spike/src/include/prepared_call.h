// Calls that are made ready once and executed often.
#pragma once

#include <chrono>

#include "model.h"

namespace spike {

/// An execution with given tensors, made ready once: its tensor sets are kept. It does
/// not keep the model or the tensors: once one of them is freed it is invalid, and its
/// methods throw SpikeError. They throw NrtError if the execution fails.
class PreparedCall {
 public:
  /// What keeps everything that an execution uses in place.
  struct Pins {
    ModelPin model;
    std::vector<TensorPin> tensors;
  };

  /// `others` are tensors that must not be freed either: those that the ones here are
  /// slices of. Throws std::invalid_argument for outputs that would overwrite each
  /// other.
  PreparedCall(const NrtModel& model, const NamedTensors& inputs,
               const NamedTensors& outputs, const std::vector<TensorPin>& others = {})
      : core_id(model.core_id), tensors_(others.begin(), others.end()) {
    ModelPin pinned = model.pin("Unable to execute an unloaded model");
    model_ = pinned;
    inputs_ = NrtTensorSet::make(pinned->runtime, inputs);
    for (auto& [name, tensor] : inputs) tensors_.push_back(tensor);
    set_outputs(pinned->runtime, outputs);
  }
  /// The same call, of the same inputs, with these outputs in place of its own.
  PreparedCall with_outputs(const Pins& pins, const NamedTensors& outputs) const {
    PreparedCall call = *this;
    call.tensors_.resize(tensors_.size() - output_count_);
    call.set_outputs(pins.model->runtime, outputs);
    return call;
  }

  Pins pin() const {
    const char* refusal = "Unable to execute an unloaded model or with a freed tensor";
    Pins pins;
    if (try_pin(pins)) return pins;
    if (pins.model) pins.model->runtime->require_open(refusal);
    throw SpikeError(std::string(refusal) +
                     ": the model or a tensor of this prepared call is gone.");
  }
  /// False if the model or a tensor is gone; else `pins` has them.
  bool try_pin(Pins& pins) const {
    pins.model = model_.lock();
    pins.tensors.reserve(tensors_.size());
    bool alive = pins.model && pins.model->runtime->is_open();
    for (auto tensor = tensors_.begin(); alive && tensor != tensors_.end(); ++tensor) {
      pins.tensors.push_back(tensor->lock());
      alive = pins.tensors.back() != nullptr;
    }
    return alive;
  }

  void execute() const { execute(pin()); }
  void execute(const Pins& pins) const {
    Use nrt(pins.model->runtime, "Unable to execute a model");
    check_execution(*nrt, pins,
                    nrt->nrt_execute(pins.model->model, inputs(), outputs()));
  }
  /// Executes, and writes a profile to the file.
  void profile(const std::string& file) const {
    Pins pins = pin();
    Use nrt(pins.model->runtime, "Unable to profile a model");
    check(nrt->nrt_profile_start(pins.model->model, file.c_str()),
          "Failed to start profile");
    int status = nrt->nrt_execute(pins.model->model, inputs(), outputs());
    int stopped = nrt->nrt_profile_stop(file.c_str());
    check_execution(*nrt, pins, status);
    check(stopped, "Failed to stop profile");
  }
  /// Milliseconds that each of `iterations` executions took on the host. Throws
  /// std::invalid_argument for numbers that cannot be.
  std::vector<double> benchmark(int warmup, int iterations) const {
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
      duration =
          std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
    return durations;
  }

  nrt_tensor_set_t* inputs() const { return inputs_->get(); }
  nrt_tensor_set_t* outputs() const { return outputs_->get(); }
  const int core_id;

 private:
  void set_outputs(const std::shared_ptr<NrtRuntime>& runtime,
                   const NamedTensors& outputs) {
    refuse_overlaps(outputs);
    outputs_ = NrtTensorSet::make(runtime, outputs);
    output_count_ = outputs.size();
    for (auto& [name, tensor] : outputs) tensors_.push_back(tensor);
  }

  // A result would be lost in silence.
  static void refuse_overlaps(const NamedTensors& outputs) {
    for (auto second = outputs.begin(); second != outputs.end(); ++second)
      for (auto first = outputs.begin(); first != second; ++first)
        if (first->second->extent.overlaps(second->second->extent))
          throw std::invalid_argument("Outputs " + first->first + " and " +
                                      second->first +
                                      ": expected tensors of memory of their own, got "
                                      "the same or overlapping tensors");
  }

  void check_execution(const NrtApi& api, const Pins& pins, int status) const {
    check(status, "Failed to execute model",
          [&] { return describe_model(api, pins.model->neff_path, core_id); });
  }

  std::weak_ptr<ModelStorage> model_;
  std::vector<std::weak_ptr<TensorStorage>> tensors_;  // the outputs last
  size_t output_count_ = 0;
  std::shared_ptr<NrtTensorSet> inputs_, outputs_;
};

}  // namespace spike
