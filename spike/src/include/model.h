// Loaded models and calls of them.
#pragma once

#include "tensor_set.h"

namespace spike {

/// Where a model is: on which core, and as which of how many ranks. To be loaded, it
/// goes to the first free core if that is -1.
struct Placement {
  int core_id = 0;
  bool is_collective = false;
  uint32_t rank_id = 0, world_size = 1;
};

/// Owns one nrt_model_t; pinned by running calls as TensorStorage is.
struct ModelStorage {
  ~ModelStorage();

  const std::shared_ptr<NrtRuntime> runtime;
  nrt_model_t* const model;
  const std::string neff_path;
  Placement placement;
  /// libnrt's answer to unloading; success until then.
  const std::shared_ptr<std::atomic<int>> unload_status =
      std::make_shared<std::atomic<int>>(NRT_SUCCESS);
};
using ModelPin = std::shared_ptr<ModelStorage>;

/// "'k.neff' on core 0 of 2 visible ones", as a detail of errors.
std::string describe_model(const NrtApi& api, const std::string& neff, int core);

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

/// An owner's share of a model until it is unloaded.
class NrtModel : public Share<ModelStorage> {
 public:
  /// Throws NeffFileError if the file cannot be read, SpikeError for a rank that is
  /// none of the world's, NrtError if libnrt refuses it.
  static NrtModel load(const NrtRuntime::Lease& runtime, const std::string& neff_path,
                       const Placement& placement);

  /// Shape, dtype and size of what the model takes and gives.
  ModelTensorInfo tensor_info() const;
  /// A tensor on the model's core.
  NrtTensor allocate(size_t size, const std::string& name) const {
    auto held = hold("Unable to execute an unloaded model");
    return NrtTensor::allocate(held->lease, size, placement.core_id, name);
  }
  /// Unloads now, or after the last running call. Idempotent.
  void unload();
  /// Address of libnrt's model; 0 once it is unloaded.
  uintptr_t address() const {
    ModelPin model = peek();
    return model ? reinterpret_cast<uintptr_t>(model->model) : 0;
  }

  const Placement placement;

 private:
  NrtModel(const NrtRuntime::Lease& runtime, const ModelPin& storage)
      : Share(storage->neff_path, runtime, storage), placement(storage->placement) {}
};

}  // namespace spike
