// Calls that are made ready once and executed often.
#pragma once

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
               const NamedTensors& outputs, const std::vector<TensorPin>& others = {});
  /// The same call, of the same inputs, with these outputs in place of its own.
  PreparedCall with_outputs(const Pins& pins, const NamedTensors& outputs) const;

  Pins pin() const;
  /// False if the model or a tensor is gone; else `pins` has them.
  bool try_pin(Pins& pins) const;

  void execute() const { execute(pin()); }
  void execute(const Pins& pins) const;
  /// Executes, and writes a profile to the file.
  void profile(const std::string& file) const;
  /// Milliseconds that each of `iterations` executions took on the host. Throws
  /// std::invalid_argument for numbers that cannot be.
  std::vector<double> benchmark(int warmup, int iterations) const;

  nrt_tensor_set_t* inputs() const { return inputs_->get(); }
  nrt_tensor_set_t* outputs() const { return outputs_->get(); }
  const int core_id;

 private:
  void set_outputs(const std::shared_ptr<NrtRuntime>& runtime,
                   const NamedTensors& outputs);
  void check_execution(const NrtApi& api, const Pins& pins, int status) const;

  std::weak_ptr<ModelStorage> model_;
  std::vector<std::weak_ptr<TensorStorage>> tensors_;  // the outputs last
  size_t output_count_ = 0;
  std::shared_ptr<NrtTensorSet> inputs_, outputs_;
};

}  // namespace spike
