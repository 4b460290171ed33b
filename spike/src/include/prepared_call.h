// Calls that are made ready once and executed often.
#pragma once

#include <algorithm>
#include <chrono>

#include "model.h"

namespace spike {

/// An execution with given tensors, made ready. It keeps the model and the tensors.
/// Methods throw NrtError if the execution fails.
struct PinnedCall {
  /// Throws SpikeError for an unloaded model, std::invalid_argument for tensors that
  /// are on another core or outputs that would overwrite each other.
  static PinnedCall make(const NrtModel& model, const NamedTensors& inputs,
                         const NamedTensors& outputs) {
    PinnedCall call{model.pin("Unable to execute an unloaded model"), {}, {}, {}};
    call.inputs = call.take(inputs);
    call.set_outputs(outputs);
    return call;
  }
  /// To be written in place of those that were set before.
  void set_outputs(const NamedTensors& named) {
    refuse_overlaps(named);
    outputs = take(named);
  }

  /// libnrt's status.
  NRT_STATUS run() const {
    return model->runtime->api->nrt_execute(model->model, inputs->get(),
                                            outputs->get());
  }
  void execute() const {
    Use nrt(model->runtime, "Unable to execute a model");
    check_execution(run());
  }
  /// Executes, and writes a profile to the file.
  void profile(const std::string& file) const {
    Use nrt(model->runtime, "Unable to profile a model");
    const auto why = [&] { return describe_reason(*nrt) + "'" + file + "'"; };
    check(nrt->nrt_profile_start(model->model, file.c_str()), "Failed to start profile",
          why);
    int status = run(), stopped = nrt->nrt_profile_stop(file.c_str());
    check_execution(status);
    check(stopped, "Failed to stop profile", why);
  }
  /// Milliseconds that each of `iterations` executions took on the host. Throws
  /// std::invalid_argument for numbers that cannot be.
  std::vector<double> benchmark(int warmup, int iterations) const {
    using Clock = std::chrono::steady_clock;
    if (warmup < 0 || iterations < 1)
      throw std::invalid_argument(
          "benchmark needs at least one iteration and no negative number of warmup "
          "iterations");
    const Unlocked unlocked;
    for (int i = 0; i < warmup; ++i) execute();
    std::vector<double> durations(iterations);
    for (double& duration : durations) {
      auto start = Clock::now();
      execute();
      duration =
          std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    }
    return durations;
  }

  ModelPin model;
  std::vector<TensorPin> tensors;  // that must not be freed
  std::shared_ptr<NrtTensorSet> inputs, outputs;

 private:
  std::shared_ptr<NrtTensorSet> take(const NamedTensors& named) {
    for (auto& [name, tensor] : named) {
      if (tensor->extent.core_id != model->placement.core_id)
        throw std::invalid_argument(
            "Tensor " + name + " is on core " + std::to_string(tensor->extent.core_id) +
            ": expected one on core " + std::to_string(model->placement.core_id) +
            ", where the model is");
      tensors.push_back(tensor);
    }
    return NrtTensorSet::make(model->runtime, named);
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

  void check_execution(int status) const {
    const NrtApi& api = *model->runtime->api;
    const auto detail = [&] {
      return describe_model(api, model->neff_path, model->placement.core_id);
    };
    check(status, "Failed to execute model", detail,
          [&] { return reason_at_end(api); });
  }
};

/// A call made ready that keeps neither model nor tensors: once one of them is freed it
/// is invalid.
class PreparedCall {
 public:
  explicit PreparedCall(const PinnedCall& call)
      : model_(call.model),
        tensors_(call.tensors.begin(), call.tensors.end()),
        inputs_(call.inputs),
        outputs_(call.outputs) {}

  bool is_valid() const {
    ModelPin model = model_.lock();
    return model && model->runtime->is_open() &&
           std::none_of(tensors_.begin(), tensors_.end(),
                        [](const auto& tensor) { return tensor.expired(); });
  }
  /// Throws SpikeError if it is invalid.
  PinnedCall pin() const {
    const char* refusal = "Unable to execute an unloaded model or with a freed tensor";
    PinnedCall call{model_.lock(), {}, inputs_, outputs_};
    if (call.model) call.model->runtime->require_open(refusal);
    call.tensors.reserve(tensors_.size());
    for (auto& tensor : tensors_) call.tensors.push_back(tensor.lock());
    auto gone = std::find(call.tensors.begin(), call.tensors.end(), nullptr);
    if (!call.model || gone != call.tensors.end())
      throw SpikeError(std::string(refusal) +
                       ": the model or a tensor of this prepared call is gone.");
    return call;
  }

 private:
  std::weak_ptr<ModelStorage> model_;
  std::vector<std::weak_ptr<TensorStorage>> tensors_;
  std::shared_ptr<NrtTensorSet> inputs_, outputs_;
};

}  // namespace spike
