// The process's runtime, which spike owns, as torch sees it: devices and errors.
#pragma once

#include <c10/core/Device.h>

#include <mutex>

#include "spike_c.h"

namespace spike_torch {

/// spike's functions. `set_spike` comes first, when the module is imported.
const SpikeApi& spike();
void set_spike(const SpikeApi* api);

/// As many as a DeviceIndex counts.
constexpr size_t kMostDevices = 128;

/// How many cores this process may use; 0 where that cannot be told.
c10::DeviceIndex device_count() noexcept;
/// The same, but raises what keeps it from being told.
c10::DeviceIndex require_device_count();

/// The device with an index: the current one if it has none. Raises torch's error for
/// an index that is no core's.
c10::Device with_index(c10::Device device);

/// The same by a number, -1 for the current one.
c10::DeviceIndex checked_index(int64_t index);

/// Of this thread.
c10::DeviceIndex current_device() noexcept;
/// Returns the one before. Raises for an index that is no core's.
c10::DeviceIndex exchange_device(c10::DeviceIndex index);
void unchecked_set_device(c10::DeviceIndex index) noexcept;

/// Whether the process was forked from one that had used a device.
bool is_forked() noexcept;
/// Raises if it was.
void require_not_forked();
/// Counts what keeps a runtime from closing, of this thread.
void note_access(int change) noexcept;
/// Whether there is such, as in an operation: who closed the runtime then would wait
/// for itself.
bool has_access() noexcept;
/// Raises if this thread keeps a runtime from closing that is about to: what opens
/// another would wait for it for ever.
void require_not_closing();
/// To be called before a device is first used.
void note_use() noexcept;

/// Raises a RuntimeError with what spike says, unless the status is success; `doing` is
/// what was tried, as in "copy to nkipy:0".
void check(int status, const char* doing);

/// Python's lock (GIL), of which only the bindings know more. `release` gives it up if
/// this thread has it, and returns what `take` needs, or null.
struct CallersLock {
  void* (*release)() = [] { return static_cast<void*>(nullptr); };
  void (*take)(void*) = [](void*) {};
};
inline CallersLock callers_lock;

/// Holds a mutex. Who waits for it gives up the caller's lock: spike's functions, which
/// are called with the mutex, may have to wait for that.
class Locked {
 public:
  explicit Locked(std::mutex& mutex) : mutex_(mutex) { lock(); }
  ~Locked() {
    if (is_held_) mutex_.unlock();
  }
  Locked(const Locked&) = delete;

  void unlock() {
    mutex_.unlock();
    is_held_ = false;
  }
  void lock() {
    is_held_ = true;
    if (mutex_.try_lock()) return;
    void* const state = callers_lock.release();
    mutex_.lock();
    if (state) callers_lock.take(state);
  }

 private:
  std::mutex& mutex_;
  bool is_held_ = false;
};

/// Whether host code may read and write device memory where it lies.
bool memory_is_host();
/// Has `memory_is_host` say no, so that all goes by transfers, as on Trainium.
void set_reach_by_transfers(bool reach);

}  // namespace spike_torch
