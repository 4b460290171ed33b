#include "model.h"

#include <cstring>

#include "neff_file.h"

namespace spike {
namespace {

constexpr uint32_t kMaxRank = 64;
constexpr int kOneCore = 1, kAnyCore = -1;

// By libnrt's number of the dtype.
constexpr const char* kDtypes[] = {
    "unknown",  "uint64",      "int8",        "uint8",      "int16",   "uint16",
    "bfloat16", "float16",     "int32",       "uint32",     "float32", "unknown",
    "int64",    "float8_e3m4", "float8_e4m3", "float8_e5m2"};

TensorMetadata metadata(const nrt_tensor_info_t& info) {
  if (info.ndim > kMaxRank)
    throw SpikeError("Tensor has unreasonably large ndim: " +
                     std::to_string(info.ndim));
  bool known = info.dtype < std::size(kDtypes);
  return {info.size,
          known ? kDtypes[info.dtype] : "unknown",
          {info.shape, info.shape + info.ndim}};
}

int find_core(const ModelStorage& model) {
  Use nrt(model.runtime, "Unable to find a model's core");
  nrt_model_info_t info{};
  size_t size = 0;
  check(nrt->nrt_get_model_info(model.model, &info, sizeof info, &size),
        "Failed to get model info");
  return info.vnc;
}

}  // namespace

std::string describe_model(const NrtApi& api, const std::string& neff, int core) {
  return "'" + neff + "' on " + describe_core(api, core);
}

ModelStorage::~ModelStorage() {
  if (Use nrt{runtime}) *unload_status = nrt->nrt_unload(model);
}

NrtModel NrtModel::load(const NrtRuntime::Lease& runtime, const std::string& neff_path,
                        const Placement& placement) {
  const auto [core, is_collective, rank, world] = placement;
  std::string where;
  if (is_collective)
    where = ", rank " + std::to_string(rank) + " of " + std::to_string(world);
  if (is_collective && rank >= world)
    throw SpikeError("Unable to load '" + neff_path + "'" + where +
                     ": ranks count from 0");
  Use nrt(runtime, "Unable to load a model");
  auto [data, size] = read_neff(neff_path);
  nrt_model_t* model = nullptr;
  int status = is_collective ? nrt->nrt_load_collectives(data.get(), size, core,
                                                         kOneCore, rank, world, &model)
                             : nrt->nrt_load(data.get(), size, core, kOneCore, &model);
  check(status, "Failed to load model", [&, core = core] {
    const std::string reason = describe_reason(*nrt);  // before another call of libnrt
    return reason + describe_model(*nrt, neff_path, core) + where;
  });
  // Unloaded also if finding the core throws.
  ModelPin storage(
      new ModelStorage{runtime->shared_from_this(), model, neff_path, placement});
  if (core == kAnyCore) storage->placement.core_id = find_core(*storage);
  return {runtime, storage};
}

void NrtModel::unload() {
  auto held = std::atomic_exchange(&held_, std::shared_ptr<const Held>());
  if (!held) return;
  auto status = held->storage->unload_status;
  held.reset();
  check(*status, "Failed to unload model");
}

ModelTensorInfo NrtModel::tensor_info() const {
  const char* refusal = "Unable to get model tensor info from an unloaded model";
  ModelPin model = pin(refusal);
  Use nrt(model->runtime, refusal);
  nrt_tensor_info_array_t* array = nullptr;
  check(nrt->nrt_get_model_tensor_info(model->model, &array),
        "Failed to get tensor info");
  // Freed also when reading it throws.
  auto release = [&nrt](auto* info) { nrt->nrt_free_model_tensor_info(info); };
  std::unique_ptr<nrt_tensor_info_array_t, decltype(release)> info(array, release);
  ModelTensorInfo result;
  for (uint64_t i = 0; i < info->tensor_count; ++i) {
    const nrt_tensor_info_t& tensor = info->tensor_array[i];
    auto& tensors =
        tensor.usage == NRT_TENSOR_USAGE_INPUT ? result.inputs : result.outputs;
    std::string name(tensor.name, strnlen(tensor.name, sizeof tensor.name));
    tensors.emplace_back(name, metadata(tensor));
  }
  check(nrt->nrt_free_model_tensor_info(info.release()), "Failed to free tensor info");
  return result;
}

}  // namespace spike
