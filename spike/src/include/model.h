// Loaded models and calls of them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tensor_set.h"

namespace spike {

/// Owns one nrt_model_t; pinned by running calls as TensorStorage is.
class ModelStorage {
 public:
  ModelStorage(std::shared_ptr<Runtime> runtime, nrt_model_t* model, int core_id)
      : runtime(std::move(runtime)), model(model), core_id(core_id) {}
  ~ModelStorage() { unload(); }
  ModelStorage(const ModelStorage&) = delete;
  ModelStorage& operator=(const ModelStorage&) = delete;

  /// libnrt's status; success if there is nothing left to unload.
  int unload() noexcept;

  const std::shared_ptr<Runtime> runtime;
  nrt_model_t* model;
  const int core_id;
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

/// A model as Python holds it: a share of it until it is unloaded.
class NrtModel {
 public:
  /// Throws NeffFileError if the file cannot be read, NrtError if libnrt refuses it.
  static NrtModel load(const std::shared_ptr<Runtime>& runtime, const std::string& path,
                       int core_id, bool is_collective, uint32_t rank_id,
                       uint32_t world_size);

  ModelPin pin(const char* refusal) const;
  /// Shape, dtype and size of what the model takes and gives.
  ModelTensorInfo tensor_info() const;
  /// Unloads now, or after the last running call. Idempotent.
  void unload();
  bool is_unloaded() const { return !storage_ || !storage_->runtime->is_open(); }
  std::string describe() const;

  std::string neff_path;
  int core_id;
  bool is_collective;
  uint32_t rank_id, world_size;

 private:
  NrtModel(std::string neff_path, int core_id, bool is_collective, uint32_t rank_id,
           uint32_t world_size)
      : neff_path(std::move(neff_path)),
        core_id(core_id),
        is_collective(is_collective),
        rank_id(rank_id),
        world_size(world_size) {}
  ModelPin storage_;
};

/// An execution with given tensors, made ready once: its tensor sets are kept. It does
/// not keep the model or the tensors: once one of them is freed it is invalid, and its
/// methods throw SpikeError. They throw NrtError if the execution fails.
class PreparedCall {
 public:
  PreparedCall(const ModelPin& model, const NamedTensors& inputs,
               const NamedTensors& outputs);

  void execute() const { run(pin()); }
  /// False, and nothing is done, if the model or a tensor is gone.
  bool try_execute() const;
  /// Executes, and writes a profile to the file.
  void profile(const std::string& file) const;
  /// Milliseconds that each of `iterations` executions took on the host.
  std::vector<double> benchmark(int warmup, int iterations) const;
  bool is_valid() const;

  /// What keeps everything that an execution uses in place.
  struct Pins {
    ModelPin model;
    std::vector<TensorPin> tensors;
  };
  Pins pin() const;
  nrt_tensor_set_t* inputs() const { return inputs_->get(); }
  nrt_tensor_set_t* outputs() const { return outputs_->get(); }

 private:
  bool try_pin(Pins& pins) const;
  void run(const Pins& pins) const;

  std::weak_ptr<ModelStorage> model_;
  std::vector<std::weak_ptr<TensorStorage>> tensors_;
  std::shared_ptr<NrtTensorSet> inputs_, outputs_;
};

}  // namespace spike
