// The emulated instance: family, chips, cores, memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "env.h"
#include "nrt/nrt.h"

namespace emulator {

/// One kind of instance, as bought; instances.h lists them. Cores are physical ones.
struct InstanceType {
  const char* name;
  std::uint32_t family;      // nrt_instance_family_t
  std::uint32_t size;        // nrt_instance_size_t
  const char* architecture;  // "NCv3"
  const char* target;        // the compiler's name for it: "trn2"
  std::uint32_t chips;
  std::uint32_t cores_per_chip;
  std::uint32_t cores_per_hbm;
  std::uint32_t hbm_gib_per_chip;
  std::uint32_t reserved_mib_per_core;  // what microcode, queues and the like take
  std::uint32_t default_logical_core_size;
  std::uint32_t largest_logical_core_size;
};

/// An instance together with its logical-core configuration.
class Topology {
 public:
  /// Throws StatusError(NRT_INVALID) for an unknown instance, or a logical-core size
  /// that it does not have.
  explicit Topology(const Environment& environment);

  const InstanceType& instance() const noexcept { return *instance_; }
  std::uint32_t logical_core_size() const noexcept { return logical_core_size_; }
  std::uint32_t physical_core_count() const noexcept;
  std::uint32_t logical_core_count() const noexcept;
  /// Usable HBM of one logical core: its share of the chip, less what is reserved.
  std::size_t hbm_bytes_per_logical_core() const noexcept { return hbm_bytes_; }
  /// Which bank of HBM, counted over the instance, serves this logical core.
  std::uint32_t hbm_index(std::uint32_t absolute_core) const noexcept;

 private:
  const InstanceType* instance_;
  std::uint32_t logical_core_size_;
  std::size_t hbm_bytes_;
};

}  // namespace emulator
