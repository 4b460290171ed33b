#include "topology.h"

#include "instances.h"
#include "status.h"

namespace emulator {
namespace {

constexpr std::size_t kGiB = std::size_t{1} << 30;
constexpr std::size_t kMiB = std::size_t{1} << 20;

std::string known_names() {
  std::string names;
  for (const InstanceType& type : kInstances) {
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

const InstanceType& find_instance(const std::string& name) {
  for (const InstanceType& type : kInstances) {
    if (name == type.name) return type;
  }
  throw StatusError(NRT_INVALID, "NKIPY_EMULATOR_INSTANCE should be one of " +
                                     known_names() + " but is \"" + name + "\"");
}

std::uint32_t choose_size(const InstanceType& type, const Environment& environment) {
  const std::uint32_t size =
      environment.logical_core_size.value_or(type.default_logical_core_size);
  if (size <= type.largest_logical_core_size) return size;
  throw StatusError(NRT_INVALID, "NEURON_LOGICAL_NC_CONFIG is " + std::to_string(size) +
                                     " but " + type.name +
                                     " has logical cores of one physical core only");
}

std::size_t share_of_hbm(const InstanceType& type, std::uint32_t logical_core_size) {
  const std::size_t per_core = type.hbm_gib_per_chip * kGiB / type.cores_per_chip;
  return (per_core - type.reserved_mib_per_core * kMiB) * logical_core_size;
}

}  // namespace

Topology::Topology(const Environment& environment)
    : instance_(&find_instance(environment.instance)),
      logical_core_size_(choose_size(*instance_, environment)),
      hbm_bytes_(environment.hbm_bytes.value_or(
          share_of_hbm(*instance_, logical_core_size_))) {}

std::uint32_t Topology::physical_core_count() const noexcept {
  return instance_->chips * instance_->cores_per_chip;
}

std::uint32_t Topology::logical_core_count() const noexcept {
  return physical_core_count() / logical_core_size_;
}

std::uint32_t Topology::hbm_index(std::uint32_t absolute_core) const noexcept {
  return absolute_core * logical_core_size_ / instance_->cores_per_hbm;
}

}  // namespace emulator
