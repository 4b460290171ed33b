// Exclusive ownership of cores among processes.
//
// One lock file per physical core, held with flock(2): the kernel lets go when the
// process ends, however it ends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "descriptor.h"
#include "env.h"
#include "private_directory.h"
#include "topology.h"

namespace emulator {

/// The range that the environment asks for, before anyone's ownership is looked at.
/// Throws StatusError(NRT_INVALID) if it leaves the instance.
CoreRange requested_cores(const Environment& environment, const Topology& topology);

/// A logical core, held until destroyed.
class CoreLock {
 public:
  CoreLock() = default;
  CoreLock(CoreLock&&) noexcept = default;
  CoreLock& operator=(CoreLock&& other) noexcept;
  CoreLock(const CoreLock&) = delete;
  CoreLock& operator=(const CoreLock&) = delete;
  ~CoreLock() { release(); }

  /// Tries to take the core; false if another process has it, which `*owner` then
  /// describes.
  /// Throws StatusError(NRT_FAILURE) if the lock files cannot be used at all.
  bool acquire(const PrivateDirectory& directory, std::uint32_t absolute_core,
               std::uint32_t logical_core_size, std::string* owner);
  void release() noexcept;

 private:
  std::vector<Descriptor> descriptors_;
};

/// The cores that this process owns, in order.
class CoreLease {
 public:
  /// Takes what the environment asks for, or nothing at all. Throws StatusError:
  /// NRT_INVALID for a bad request, NRT_FAILURE if a core is in use, saying by whom.
  CoreLease(const Environment& environment, const Topology& topology);

  std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(absolute_.size());
  }
  /// The number, in the instance, of the process's core `index`.
  std::uint32_t absolute(std::uint32_t index) const { return absolute_.at(index); }
  /// In a forked child: the cores remain its parent's.
  void abandon() noexcept { locks_.clear(); }

 private:
  void take_range(const PrivateDirectory& directory, CoreRange range,
                  std::uint32_t size);
  void take_any(const PrivateDirectory& directory, std::uint32_t wanted,
                const Topology& topology);
  void try_take(const PrivateDirectory& directory, std::uint32_t core,
                std::uint32_t size);

  std::vector<CoreLock> locks_;
  std::vector<std::uint32_t> absolute_;
  std::vector<std::string> owners_;  // of cores that were not to be had
};

}  // namespace emulator
