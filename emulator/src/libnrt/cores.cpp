#include "cores.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "status.h"

namespace emulator {
namespace {

[[noreturn]] void fail_for_file(const std::string& path) {
  throw StatusError(NRT_FAILURE, "cannot use " + path + ": " + std::strerror(errno) +
                                     " (NKIPY_EMULATOR_LOCK_DIR names another place)");
}

/// Makes the directory and those above it.
void make_directories(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) fail_for_file(part);
    if (end == std::string::npos) return;
  }
}

int open_lock_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) fail_for_file(path);
  return file;
}

/// Held while cores are picked, so that two processes do not each get half.
class PickingLock {
 public:
  explicit PickingLock(const std::string& directory)
      : file_(open_lock_file(directory + "/picking.lock")) {
    while (flock(file_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      close(file_);
      fail_for_file(directory + "/picking.lock");
    }
  }
  ~PickingLock() { close(file_); }
  PickingLock(const PickingLock&) = delete;
  PickingLock& operator=(const PickingLock&) = delete;

 private:
  int file_;
};

[[noreturn]] void fail_for_cores(const std::string& requested, std::size_t available) {
  throw StatusError(NRT_FAILURE,
                    "NeuronCore(s) not available - Requested:" + requested +
                        " Available:" + std::to_string(available));
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

bool CoreLock::acquire(const std::string& directory, std::uint32_t absolute_core,
                       std::uint32_t logical_core_size) {
  descriptors_.reserve(logical_core_size);
  const std::uint32_t first = absolute_core * logical_core_size;
  for (std::uint32_t core = first; core < first + logical_core_size; ++core) {
    const std::string path = directory + "/core-" + std::to_string(core) + ".lock";
    descriptors_.push_back(open_lock_file(path));
    if (flock(descriptors_.back(), LOCK_EX | LOCK_NB) == 0) continue;
    const bool in_use = errno == EWOULDBLOCK;
    if (!in_use) fail_for_file(path);
    release();
    return false;
  }
  return true;
}

void CoreLock::release() noexcept {
  // Closing, not unlocking: in a forked child the lock remains its parent's.
  for (const int descriptor : descriptors_) close(descriptor);
  descriptors_.clear();
}

CoreLease::CoreLease(const Environment& environment, const Topology& topology) {
  const CoreRange range = requested_cores(environment, topology);
  const std::string directory =
      environment.lock_directory + "/" + topology.instance().name;
  make_directories(directory);
  const PickingLock picking(directory);
  const bool any = !environment.visible_cores && environment.number_of_cores != 0;
  if (any) {
    take_any(directory, range.count, topology);
  } else {
    take_range(directory, range, topology.logical_core_size());
  }
}

void CoreLease::take_range(const std::string& directory, CoreRange range,
                           std::uint32_t size) {
  for (std::uint32_t core = range.first; core < range.first + range.count; ++core) {
    try_take(directory, core, size);
  }
  if (count() < range.count) fail_for_cores(describe(range), count());
}

void CoreLease::take_any(const std::string& directory, std::uint32_t wanted,
                         const Topology& topology) {
  const std::uint32_t total = topology.logical_core_count();
  for (std::uint32_t core = 0; core < total && count() < wanted; ++core) {
    try_take(directory, core, topology.logical_core_size());
  }
  if (count() < wanted) fail_for_cores(std::to_string(wanted), count());
}

void CoreLease::try_take(const std::string& directory, std::uint32_t core,
                         std::uint32_t size) {
  CoreLock lock;
  if (!lock.acquire(directory, core, size)) return;
  locks_.push_back(std::move(lock));
  absolute_.push_back(core);
}

}  // namespace emulator
