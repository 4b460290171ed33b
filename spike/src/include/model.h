// Loaded models and calls of them.
#pragma once

#include "tensor_set.h"

namespace spike {

/// Owns one nrt_model_t; pinned by running calls as TensorStorage is.
class ModelStorage {
 public:
  ModelStorage(std::shared_ptr<NrtRuntime> runtime, nrt_model_t* model,
               const std::string& neff_path)
      : runtime(std::move(runtime)), model(model), neff_path(neff_path) {}
  ~ModelStorage();
  ModelStorage(const ModelStorage&) = delete;
  ModelStorage& operator=(const ModelStorage&) = delete;

  const std::shared_ptr<NrtRuntime> runtime;
  nrt_model_t* const model;
  const std::string neff_path;
  /// libnrt's answer to unloading; success until then.
  const std::shared_ptr<std::atomic<int>> unload_status =
      std::make_shared<std::atomic<int>>(NRT_SUCCESS);
};
using ModelPin = std::shared_ptr<ModelStorage>;

struct TensorMetadata {
  size_t size;
  std::string dtype;
  std::vector<int64_t> shape;
};
using NamedMetadata = std::vector<std::pair<std::string, TensorMetadata>>;

/// What a model takes and gives, in the order of the NEFF.
struct ModelTensorInfo {
  NamedMetadata inputs, outputs;
};

/// Where a model is to be loaded: on a core, or on the first free one if it is -1, and
/// as which of how many ranks.
struct Placement {
  int core_id = 0;
  bool is_collective = false;
  uint32_t rank_id = 0, world_size = 1;
};

/// An owner's share of a model until it is unloaded.
class NrtModel : public Share<ModelStorage> {
 public:
  /// Throws NeffFileError if the file cannot be read, NrtError if libnrt refuses it.
  static NrtModel load(const NrtRuntime::Lease& runtime, const std::string& neff_path,
                       const Placement& placement);

  /// Shape, dtype and size of what the model takes and gives.
  ModelTensorInfo tensor_info() const;
  /// Unloads now, or after the last running call. Idempotent.
  void unload();
  /// Address of libnrt's model; 0 once it is unloaded.
  uintptr_t address() const {
    ModelPin model = peek();
    return model ? reinterpret_cast<uintptr_t>(model->model) : 0;
  }

  const Placement placement;
  const int core_id;  // where it is: libnrt chooses if -1 was asked for

 private:
  NrtModel(const NrtRuntime::Lease& runtime, std::string neff_path,
           const Placement& placement, ModelPin storage);
};

/// An execution with given tensors, made ready once: its tensor sets are kept. It does
/// not keep the model or the tensors: once one of them is freed it is invalid, and its
/// methods throw SpikeError. They throw NrtError if the execution fails.
class PreparedCall {
 public:
  /// `others` are tensors that must not be freed either: those that the ones here are
  /// slices of. Throws std::invalid_argument for outputs that would overwrite each
  /// other.
  PreparedCall(const NrtModel& model, const NamedTensors& inputs,
               const NamedTensors& outputs, const std::vector<TensorPin>& others = {});
  /// The same call, of the same inputs, with these outputs in place of its own.
  PreparedCall with_outputs(const NamedTensors& outputs) const;

  /// What keeps everything that an execution uses in place.
  struct Pins {
    ModelPin model;
    std::vector<TensorPin> tensors;
  };
  Pins pin() const;
  /// False if the model or a tensor is gone; else `pins` has them.
  bool try_pin(Pins& pins) const;

  void execute() const { execute(pin()); }
  void execute(const Pins& pins) const;
  /// Executes, and writes a profile to the file.
  void profile(const std::string& file) const;
  /// Milliseconds that each of `iterations` executions took on the host.
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
