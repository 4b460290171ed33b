#include "spike.h"

#include <cstring>

namespace spike {

Spike::Spike(std::shared_ptr<const NrtApi> api)
    : runtime_(NrtRuntime::open(std::move(api))) {}

uint32_t Spike::visible_core_count(const NrtApi& api) {
  uint32_t count = 0;
  check(api.nrt_get_visible_nc_count(&count), "Failed to get visible NC count",
        describe_environment);
  return count;
}

std::string Spike::runtime_version(const NrtApi& api) {
  nrt_version_t version{};
  if (!api.nrt_get_version ||
      api.nrt_get_version(&version, sizeof version) != NRT_SUCCESS)
    return "unknown";
  std::string text = std::to_string(version.major);
  for (uint64_t part : {version.minor, version.patch, version.maintenance})
    text += "." + std::to_string(part);
  std::string detail(version.detail, strnlen(version.detail, sizeof version.detail));
  return detail.empty() ? text : text + " (" + detail + ")";
}

std::pair<size_t, size_t> Spike::memory_stats(uint32_t core_id) const {
  return runtime_->memory_stats(core_id);
}

NrtTensor Spike::allocate_tensor(size_t size, int core_id,
                                 const std::string& name) const {
  return NrtTensor::allocate(runtime_, size, core_id, name);
}

NrtTensor Spike::slice_from_tensor(const NrtTensor& source, size_t offset, size_t size,
                                   const std::string& name) const {
  return own(source).slice(offset, size, name);
}

void Spike::tensor_write(NrtTensor& tensor, const void* data, size_t size,
                         size_t offset) const {
  own(tensor).write(data, size, offset);
}

void Spike::tensor_read(const NrtTensor& tensor, void* data, size_t size,
                        size_t offset) const {
  own(tensor).read(data, size, offset);
}

NrtModel Spike::load_model(const std::string& neff_path,
                           const Placement& placement) const {
  return NrtModel::load(runtime_, neff_path, placement);
}

ModelTensorInfo Spike::get_tensor_info(const NrtModel& model) const {
  return model.tensor_info();
}

void Spike::execute(const NrtModel& model, const NamedTensors& inputs,
                    const NamedTensors& outputs) const {
  PreparedCall(own(model), inputs, outputs).execute();
}

void Spike::profile(const NrtModel& model, const NamedTensors& inputs,
                    const NamedTensors& outputs, const std::string& file) const {
  PreparedCall(own(model), inputs, outputs).profile(file);
}

std::vector<double> Spike::benchmark(const NrtModel& model, const NamedTensors& inputs,
                                     const NamedTensors& outputs, int warmup,
                                     int iterations) const {
  return PreparedCall(own(model), inputs, outputs).benchmark(warmup, iterations);
}

}  // namespace spike
