#include "runtime.h"

#include <c10/util/Exception.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <utility>

namespace spike_torch {
namespace {

const SpikeApi* api = nullptr;
thread_local c10::DeviceIndex current = 0;
thread_local int accesses = 0;
constexpr char kForked[] =
    "Cannot re-initialize nkipy in a forked subprocess. To use nkipy with "
    "multiprocessing, you must use the 'spawn' start method";
std::atomic<bool> by_transfers{false};
std::atomic<bool> is_used{false}, is_child{false};

void in_child() { is_child = is_used.load(); }

}  // namespace

const SpikeApi& spike() { return *api; }
void set_spike(const SpikeApi* given) {
  if (!std::exchange(api, given)) pthread_atfork(nullptr, nullptr, in_child);
}

c10::DeviceIndex require_device_count() {
  uint32_t count = 0;
  check(spike().core_count(&count), "count the cores");
  constexpr uint32_t most = std::numeric_limits<c10::DeviceIndex>::max();
  return static_cast<c10::DeviceIndex>(std::min(count, most));
}

c10::DeviceIndex device_count() noexcept {
  uint32_t count = 0;
  if (spike().core_count(&count) != SPIKE_NRT_SUCCESS) return 0;
  constexpr uint32_t most = std::numeric_limits<c10::DeviceIndex>::max();
  return static_cast<c10::DeviceIndex>(std::min(count, most));
}

namespace {

// What is counted once: a process's cores are chosen before the first is used. A
// device that is beyond is counted again, as `spike.configure` may come after a reset.
std::atomic<c10::DeviceIndex> known_count{0};

bool is_core(c10::DeviceIndex index) {
  if (index < 0) return false;
  if (index < known_count.load(std::memory_order_relaxed)) return true;
  known_count = require_device_count();
  return index < known_count;
}

void require_core(c10::DeviceIndex index) {
  if (is_core(index)) return;
  TORCH_CHECK_VALUE(known_count != 0, "nkipy: invalid device index ",
                    static_cast<int>(index),
                    ": this process may use no core; NEURON_RT_VISIBLE_CORES names "
                    "those that it may");
  TORCH_CHECK(
      false, "nkipy error: invalid device ordinal: got nkipy:", static_cast<int>(index),
      ", and there are ", static_cast<int>(known_count.load()),
      " devices, one per core that NEURON_RT_VISIBLE_CORES makes visible");
}

}  // namespace

c10::Device with_index(c10::Device device) {
  const c10::DeviceIndex index = device.has_index() ? device.index() : current_device();
  require_core(index);
  return {c10::DeviceType::PrivateUse1, index};
}

c10::DeviceIndex checked_index(int64_t index) {
  constexpr int64_t most = std::numeric_limits<c10::DeviceIndex>::max();
  TORCH_CHECK(-1 <= index && index <= most, "nkipy: invalid device index ", index,
              ": an index is from 0 to ", most);
  return with_index(
             {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(index)})
      .index();
}

c10::DeviceIndex current_device() noexcept { return current; }

c10::DeviceIndex exchange_device(c10::DeviceIndex index) {
  if (index != current) require_core(index);
  return std::exchange(current, index);
}

void unchecked_set_device(c10::DeviceIndex index) noexcept { current = index; }

void note_use() noexcept { is_used = true; }
bool is_forked() noexcept { return is_child.load(std::memory_order_relaxed); }

void note_access(int change) noexcept { accesses += change; }
bool has_access() noexcept { return accesses != 0; }

void require_not_closing() {
  TORCH_CHECK(!has_access() || spike().state() == SPIKE_OPEN,
              "nkipy: unable to allocate for an operation: the runtime is closed");
}

void require_not_forked() { TORCH_CHECK(!is_forked(), kForked); }

void check(int status, const char* doing) {
  if (status == SPIKE_NRT_SUCCESS) return;
  const std::string why = spike().last_error();
  TORCH_CHECK(spike().state() != SPIKE_FORKED, kForked);
  TORCH_CHECK(false, "nkipy: unable to ", doing, ": ", why);
}

bool memory_is_host() {
  static const bool is_host = [] {
    int found = 0;
    check(spike().memory_is_host(&found), "ask for the kind of memory");
    return found != 0;
  }();
  return is_host && !by_transfers.load(std::memory_order_relaxed);
}

void set_reach_by_transfers(bool reach) { by_transfers = reach; }

}  // namespace spike_torch
