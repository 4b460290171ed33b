#include "model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace spike {
namespace {

constexpr uint32_t kMaxRank = 64;
constexpr int kOneCore = 1;

// By libnrt's number of the dtype.
constexpr const char* kDtypes[] = {
    "unknown",  "uint64",      "int8",        "uint8",      "int16",   "uint16",
    "bfloat16", "float16",     "int32",       "uint32",     "float32", "unknown",
    "int64",    "float8_e3m4", "float8_e4m3", "float8_e5m2"};

struct File {
  std::unique_ptr<char[]> data;  // not zeroed, as a vector's would be
  size_t size;
};

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

[[noreturn]] void fail_to_read(const std::string& path, const std::string& why) {
  throw NeffFileError("Failed to read NEFF file: " + path + ": " + why);
}

File read_file(const std::string& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0)
    throw NeffFileError(
        "Failed to open NEFF file: " + path +
        ". Please check if the file exists and have read permission. (" +
        std::strerror(errno) + ")");
  struct stat info;
  if (fstat(file.value, &info) != 0) fail_to_read(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail_to_read(path, "it is not a regular file");
  size_t size = info.st_size, done = 0;
  std::unique_ptr<char[]> data(new char[size]);
  while (done < size) {
    ssize_t n = ::read(file.value, data.get() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to_read(path, std::strerror(errno));
    if (n == 0) fail_to_read(path, "it became shorter while it was read");
    done += n;
  }
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

// What libnrt allocated for the description, freed also when reading it throws.
struct TensorInfoArray {
  const NrtApi& api;
  nrt_tensor_info_array_t* array = nullptr;
  ~TensorInfoArray() {
    if (array) api.nrt_free_model_tensor_info(array);
  }
};

}  // namespace

int ModelStorage::unload() noexcept {
  Use nrt(runtime);
  nrt_model_t* unloaded = std::exchange(model, nullptr);
  return unloaded && nrt ? nrt->nrt_unload(unloaded) : NRT_SUCCESS;
}

NrtModel NrtModel::load(const std::shared_ptr<Runtime>& runtime,
                        const std::string& path, int core_id, bool is_collective,
                        uint32_t rank_id, uint32_t world_size) {
  Use nrt(runtime, "load a model");
  File file = read_file(path);
  const char* data = file.data.get();
  nrt_model_t* model = nullptr;
  int status = is_collective
                   ? nrt->nrt_load_collectives(data, file.size, core_id, kOneCore,
                                               rank_id, world_size, &model)
                   : nrt->nrt_load(data, file.size, core_id, kOneCore, &model);
  check(status, "Failed to load model");
  NrtModel loaded{path, core_id, is_collective, rank_id, world_size};
  loaded.storage_ = std::make_shared<ModelStorage>(runtime, model, core_id);
  return loaded;
}

ModelPin NrtModel::pin(const char* refusal) const {
  if (!is_unloaded()) return storage_;
  if (storage_) storage_->runtime->refuse_if_forked("use model " + neff_path);
  throw SpikeError(std::string(refusal) + ": " + neff_path +
                   " was unloaded, or its runtime closed.");
}

void NrtModel::unload() {
  ModelPin last = std::move(storage_);
  if (last && last.use_count() == 1) check(last->unload(), "Failed to unload model");
}

std::string NrtModel::describe() const {
  char pointer[32];
  std::snprintf(pointer, sizeof pointer, "%p",
                static_cast<void*>(storage_ ? storage_->model : nullptr));
  auto boolean = [](bool value) { return value ? "True" : "False"; };
  return "NrtModel(ptr=" + std::string(pointer) +
         ", core_id=" + std::to_string(core_id) +
         ", rank_id=" + std::to_string(rank_id) +
         ", world_size=" + std::to_string(world_size) +
         ", is_collective=" + boolean(is_collective) +
         ", is_owner=" + boolean(storage_ != nullptr) + ")";
}

ModelTensorInfo NrtModel::tensor_info() const {
  ModelPin model = pin("Unable to get model tensor info from an unloaded model");
  Use nrt(model->runtime, "get model tensor info");
  TensorInfoArray info{*nrt};
  check(nrt->nrt_get_model_tensor_info(model->model, &info.array),
        "Failed to get tensor info");
  ModelTensorInfo result;
  for (uint64_t i = 0; i < info.array->tensor_count; ++i) {
    const nrt_tensor_info_t& tensor = info.array->tensors[i];
    auto& tensors = tensor.usage == kUsageInput ? result.inputs : result.outputs;
    std::string name(tensor.name, strnlen(tensor.name, sizeof tensor.name));
    tensors.emplace_back(name, metadata(tensor));
  }
  nrt_tensor_info_array_t* array = std::exchange(info.array, nullptr);
  check(nrt->nrt_free_model_tensor_info(array), "Failed to free tensor info");
  return result;
}

PreparedCall::PreparedCall(const ModelPin& model, const NamedTensors& inputs,
                           const NamedTensors& outputs)
    : model_(model),
      inputs_(NrtTensorSet::make(model->runtime, inputs)),
      outputs_(NrtTensorSet::make(model->runtime, outputs)) {
  for (auto* named : {&inputs, &outputs})
    for (auto& [name, tensor] : *named) tensors_.push_back(tensor);
}

bool PreparedCall::try_pin(Pins& pins) const {
  pins.model = model_.lock();
  pins.tensors.reserve(tensors_.size());
  bool alive = pins.model && pins.model->runtime->is_open();
  for (auto tensor = tensors_.begin(); alive && tensor != tensors_.end(); ++tensor) {
    pins.tensors.push_back(tensor->lock());
    alive = pins.tensors.back() != nullptr;
  }
  if (!alive) pins = {};
  return alive;
}

PreparedCall::Pins PreparedCall::pin() const {
  Pins pins;
  if (auto model = model_.lock()) model->runtime->refuse_if_forked("execute a model");
  if (!try_pin(pins))
    throw SpikeError(
        "Unable to execute an unloaded model or with a freed tensor: the model or a "
        "tensor of this prepared call is gone, or the runtime is closed.");
  return pins;
}

bool PreparedCall::is_valid() const {
  Pins pins;
  return try_pin(pins);
}

bool PreparedCall::try_execute() const {
  Pins pins;
  if (!try_pin(pins)) return false;
  run(pins);
  return true;
}

void PreparedCall::run(const Pins& pins) const {
  Use nrt(pins.model->runtime, "execute a model");
  check(nrt->nrt_execute(pins.model->model, inputs(), outputs()),
        "Failed to execute model");
}

void PreparedCall::profile(const std::string& file) const {
  Pins pins = pin();
  Use nrt(pins.model->runtime, "profile a model");
  auto stop = SPIKE_NEED(*nrt, nrt_profile_stop);
  check(SPIKE_NEED(*nrt, nrt_profile_start)(pins.model->model, file.c_str()),
        "Failed to start profile");
  int status = nrt->nrt_execute(pins.model->model, inputs(), outputs());
  int stopped = stop(file.c_str());
  check(status, "Failed to execute model");
  check(stopped, "Failed to stop profile");
}

std::vector<double> PreparedCall::benchmark(int warmup, int iterations) const {
  using Clock = std::chrono::steady_clock;
  Pins pins = pin();
  WithoutGil without_gil;
  for (int i = 0; i < warmup; ++i) run(pins);
  std::vector<double> durations(iterations);
  for (double& duration : durations) {
    auto start = Clock::now();
    run(pins);
    duration = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
  return durations;
}

}  // namespace spike
