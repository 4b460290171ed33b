#include "model.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace spike {
namespace {

constexpr uint32_t kMaxRank = 64;
constexpr int kOneCore = 1, kAnyCore = -1;

// By libnrt's number of the dtype.
constexpr const char* kDtypes[] = {
    "unknown",  "uint64",      "int8",        "uint8",      "int16",   "uint16",
    "bfloat16", "float16",     "int32",       "uint32",     "float32", "unknown",
    "int64",    "float8_e3m4", "float8_e4m3", "float8_e5m2"};

struct File {
  std::unique_ptr<char[]> data;  // not zeroed, as a vector's would be
  size_t size;
};

File read_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) &&
      !std::filesystem::is_regular_file(path, error))
    throw NeffFileError("Failed to read NEFF file: " + path +
                        ": it is not a regular file");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw NeffFileError(
        "Failed to open NEFF file: " + path +
        ". Please check if the file exists and have read permission. (" +
        std::strerror(errno) + ")");
  size_t size = file.seekg(0, std::ios::end).tellg();
  std::unique_ptr<char[]> data(new char[size]);
  if (!file.seekg(0).read(data.get(), size))
    throw NeffFileError("Failed to read NEFF file: " + path + ": " +
                        std::strerror(errno));
  return {std::move(data), size};
}

TensorMetadata metadata(const nrt_tensor_info_t& info) {
  if (info.ndim > kMaxRank)
    throw SpikeError("Tensor has unreasonably large ndim: " +
                     std::to_string(info.ndim));
  bool known = info.dtype < std::size(kDtypes);
  return {info.size,
          known ? kDtypes[info.dtype] : "unknown",
          {info.shape, info.shape + info.ndim}};
}

std::string describe(const NrtApi& api, const std::string& neff, int core) {
  return "'" + neff + "' on " + describe_core(api, core);
}

int find_core(const ModelStorage& model) {
  Use nrt(model.runtime, "Unable to find a model's core");
  nrt_model_info_t info{};
  size_t size = 0;
  check(nrt->nrt_get_model_info(model.model, &info, sizeof info, &size),
        "Failed to get model info");
  return info.vnc;
}

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

ModelStorage::~ModelStorage() {
  if (Use nrt{runtime}) *unload_status = nrt->nrt_unload(model);
}

NrtModel::NrtModel(const NrtRuntime::Lease& runtime, std::string neff_path,
                   const Placement& placement, ModelPin storage)
    : Share(std::move(neff_path), runtime, storage),
      placement(placement),
      core_id(placement.core_id == kAnyCore ? find_core(*storage) : placement.core_id) {
}

NrtModel NrtModel::load(const NrtRuntime::Lease& runtime, const std::string& neff_path,
                        const Placement& placement) {
  const auto& [core, is_collective, rank, world] = placement;
  Use nrt(runtime, "Unable to load a model");
  File file = read_file(neff_path);
  const char* data = file.data.get();
  nrt_model_t* model = nullptr;
  int status = is_collective ? nrt->nrt_load_collectives(data, file.size, core,
                                                         kOneCore, rank, world, &model)
                             : nrt->nrt_load(data, file.size, core, kOneCore, &model);
  check(status, "Failed to load model", [&, rank = rank, world = world] {
    std::string of = ", rank " + std::to_string(rank) + " of " + std::to_string(world);
    return describe(*nrt, neff_path, placement.core_id) +
           (placement.is_collective ? of : "");
  });
  return {
      runtime, neff_path, placement,
      std::make_shared<ModelStorage>(runtime->shared_from_this(), model, neff_path)};
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
    const nrt_tensor_info_t& tensor = info->tensors[i];
    auto& tensors = tensor.usage == kUsageInput ? result.inputs : result.outputs;
    std::string name(tensor.name, strnlen(tensor.name, sizeof tensor.name));
    tensors.emplace_back(name, metadata(tensor));
  }
  check(nrt->nrt_free_model_tensor_info(info.release()), "Failed to free tensor info");
  return result;
}

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

PreparedCall PreparedCall::with_outputs(const NamedTensors& outputs) const {
  Pins pins = pin();
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
        [&] { return describe(api, pins.model->neff_path, core_id); });
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
