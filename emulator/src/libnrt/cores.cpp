#include "cores.h"

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core_owner.h"
#include "status.h"

namespace emulator {
namespace {

[[noreturn]] void fail_for_file(const std::string& path) {
  throw StatusError(NRT_FAILURE, "cannot use " + path + ": " + std::strerror(errno) +
                                     " (NKIPY_EMULATOR_LOCK_DIR names another place)");
}

/// Held while cores are picked, so that two processes do not each get half.
class PickingLock {
 public:
  explicit PickingLock(const PrivateDirectory& directory)
      : file_(directory.open_lock_file(kName)) {
    while (flock(file_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) fail_for_file(directory.path() + "/" + kName);
    }
  }

 private:
  static constexpr char kName[] = "picking.lock";

  const Descriptor file_;
};

/// `owners`: of the cores that are taken, each once.
[[noreturn]] void fail_for_cores(const std::string& requested, std::size_t available,
                                 const std::vector<std::string>& owners) {
  constexpr std::size_t kMost = 4;
  std::string text = "NeuronCore(s) not available - Requested:" + requested +
                     " Available:" + std::to_string(available);
  for (std::size_t i = 0; i < owners.size() && i < kMost; ++i) {
    text += (i == 0 ? "; taken by " : " and ") + owners[i];
  }
  if (owners.size() > kMost) text += " and others";
  text +=
      ". NEURON_RT_VISIBLE_CORES shares cores out, such as 0 to the one and 1 to the "
      "other, where each would take all; "
      "NKIPY_EMULATOR_LOCK_DIR=<an empty directory> is another emulated machine";
  throw StatusError(NRT_FAILURE, text);
}

std::string describe(CoreRange range) {
  return "nc" + std::to_string(range.first) + "-nc" +
         std::to_string(range.first + range.count - 1);
}

}  // namespace

CoreRange requested_cores(const Environment& environment, const Topology& topology) {
  const std::uint32_t total = topology.logical_core_count();
  if (environment.visible_cores) {
    const CoreRange range = *environment.visible_cores;
    if (range.first < total && range.count <= total - range.first) return range;
    throw StatusError(NRT_INVALID, "NEURON_RT_VISIBLE_CORES asks for " +
                                       describe(range) + " but " +
                                       topology.instance().name + " has nc0-nc" +
                                       std::to_string(total - 1));
  }
  const std::uint32_t wanted = environment.number_of_cores;
  if (wanted > total) {
    throw StatusError(NRT_INVALID, "NEURON_RT_NUM_CORES asks for " +
                                       std::to_string(wanted) + " cores but " +
                                       topology.instance().name + " has " +
                                       std::to_string(total));
  }
  return {0, wanted == 0 ? total : wanted};
}

CoreLock& CoreLock::operator=(CoreLock&& other) noexcept {
  release();
  descriptors_.swap(other.descriptors_);
  return *this;
}

bool CoreLock::acquire(const PrivateDirectory& directory, std::uint32_t absolute_core,
                       std::uint32_t logical_core_size, std::string* owner) {
  descriptors_.reserve(logical_core_size);
  const std::uint32_t first = absolute_core * logical_core_size;
  for (std::uint32_t core = first; core < first + logical_core_size; ++core) {
    const std::string name = "core-" + std::to_string(core) + ".lock";
    descriptors_.push_back(directory.open_lock_file(name));
    const int file = descriptors_.back().get();
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
      write_owner(file);
      continue;
    }
    const bool in_use = errno == EWOULDBLOCK;
    if (!in_use) fail_for_file(directory.path() + "/" + name);
    *owner = describe_owner(file);
    release();
    return false;
  }
  return true;
}

void CoreLock::release() noexcept {
  // Closing, not unlocking: in a forked child the lock remains its parent's.
  descriptors_.clear();
}

CoreLease::CoreLease(const Environment& environment, const Topology& topology) {
  const CoreRange range = requested_cores(environment, topology);
  const PrivateDirectory directory =
      PrivateDirectory(environment.lock_directory).below(topology.instance().name);
  const PickingLock picking(directory);
  const bool any = !environment.visible_cores && environment.number_of_cores != 0;
  if (any) {
    take_any(directory, range.count, topology);
  } else {
    take_range(directory, range, topology.logical_core_size());
  }
}

void CoreLease::take_range(const PrivateDirectory& directory, CoreRange range,
                           std::uint32_t size) {
  for (std::uint32_t core = range.first; core < range.first + range.count; ++core) {
    try_take(directory, core, size);
  }
  if (count() < range.count) fail_for_cores(describe(range), count(), owners_);
}

void CoreLease::take_any(const PrivateDirectory& directory, std::uint32_t wanted,
                         const Topology& topology) {
  const std::uint32_t total = topology.logical_core_count();
  for (std::uint32_t core = 0; core < total && count() < wanted; ++core) {
    try_take(directory, core, topology.logical_core_size());
  }
  if (count() < wanted) fail_for_cores(std::to_string(wanted), count(), owners_);
}

void CoreLease::try_take(const PrivateDirectory& directory, std::uint32_t core,
                         std::uint32_t size) {
  CoreLock lock;
  std::string owner;
  if (!lock.acquire(directory, core, size, &owner)) {
    if (std::find(owners_.begin(), owners_.end(), owner) == owners_.end()) {
      owners_.push_back(owner);
    }
    return;
  }
  locks_.push_back(std::move(lock));
  absolute_.push_back(core);
}

}  // namespace emulator
