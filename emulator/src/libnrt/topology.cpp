#include "topology.h"

#include "status.h"

namespace emulator {
namespace {

constexpr std::size_t kGiB = std::size_t{1} << 30;
constexpr std::size_t kMiB = std::size_t{1} << 20;
/// What microcode, queues and the like take of each physical core's share.
constexpr std::size_t kReservedPerCore = 96 * kMiB;

// name, family, size, architecture, target, chips, cores per chip, cores per bank of
// HBM, GiB per chip, logical-core size: default, largest.
//
// The short names are one-chip machines whose logical cores are the physical ones,
// since that is what kernels are compiled for by default.
constexpr InstanceType kInstances[] = {
    {"trn1", NRT_INSTANCE_TRN1, NRT_INSTANCE_SIZE_2XL, "NCv2", "trn1", 1, 2, 1, 32, 1,
     1},
    {"trn1.2xlarge", NRT_INSTANCE_TRN1, NRT_INSTANCE_SIZE_2XL, "NCv2", "trn1", 1, 2, 1,
     32, 1, 1},
    {"trn1.32xlarge", NRT_INSTANCE_TRN1, NRT_INSTANCE_SIZE_32XL, "NCv2", "trn1", 16, 2,
     1, 32, 1, 1},
    {"trn1n.32xlarge", NRT_INSTANCE_TRN1N, NRT_INSTANCE_SIZE_32XL, "NCv2", "trn1", 16,
     2, 1, 32, 1, 1},
    {"inf2", NRT_INSTANCE_INF2, NRT_INSTANCE_SIZE_1XL, "NCv2", "inf2", 1, 2, 1, 32, 1,
     1},
    {"inf2.xlarge", NRT_INSTANCE_INF2, NRT_INSTANCE_SIZE_1XL, "NCv2", "inf2", 1, 2, 1,
     32, 1, 1},
    {"inf2.8xlarge", NRT_INSTANCE_INF2, NRT_INSTANCE_SIZE_8XL, "NCv2", "inf2", 1, 2, 1,
     32, 1, 1},
    {"inf2.24xlarge", NRT_INSTANCE_INF2, NRT_INSTANCE_SIZE_24XL, "NCv2", "inf2", 6, 2,
     1, 32, 1, 1},
    {"inf2.48xlarge", NRT_INSTANCE_INF2, NRT_INSTANCE_SIZE_48XL, "NCv2", "inf2", 12, 2,
     1, 32, 1, 1},
    {"trn2", NRT_INSTANCE_TRN2, NRT_INSTANCE_SIZE_3XL, "NCv3", "trn2", 1, 8, 2, 96, 1,
     2},
    {"trn2.3xlarge", NRT_INSTANCE_TRN2, NRT_INSTANCE_SIZE_3XL, "NCv3", "trn2", 1, 8, 2,
     96, 2, 2},
    {"trn2.48xlarge", NRT_INSTANCE_TRN2, NRT_INSTANCE_SIZE_48XL, "NCv3", "trn2", 16, 8,
     2, 96, 2, 2},
    {"trn2u.48xlarge", NRT_INSTANCE_TRN2U, NRT_INSTANCE_SIZE_48XL, "NCv3", "trn2", 16,
     8, 2, 96, 2, 2},
    {"trn3", NRT_INSTANCE_TRN3, NRT_INSTANCE_SIZE_3XL, "NCv4", "trn3", 1, 8, 2, 144, 1,
     2},
    {"trn3.48xlarge", NRT_INSTANCE_TRN3, NRT_INSTANCE_SIZE_48XL, "NCv4", "trn3", 16, 8,
     2, 144, 2, 2},
};

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
  return (per_core - kReservedPerCore) * logical_core_size;
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
