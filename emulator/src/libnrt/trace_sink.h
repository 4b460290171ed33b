// Where the runtime reports what it does. Free while nobody listens.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace emulator::trace {

/// What happened. The names that go into the JSON are in trace_events.cpp.
enum class EventType {
  nrt_load,
  nrt_unload,
  nrt_execute,      // the whole call, host side
  nc_exec_running,  // the core at work: carries device time
  tensor_read,
  tensor_write,
  tensor_copy,
  tensor_memset,
  tensor_allocate,
  tensor_free,
  model_submit,  // an execution given to a queue
  numerical_error,
  model_switch,  // the core goes over to another model: carries device time
};
constexpr int kEventTypes = static_cast<int>(EventType::model_switch) + 1;

enum class Phase { start, stop };

/// Nanoseconds; device time only where the event has it.
constexpr std::int64_t kNoTime = -1;

struct Event {
  EventType type;
  Phase phase;
  int core;                          // of the process; -1: none
  std::uint64_t tracking_id;         // same for start and stop of one thing
  std::int64_t host_ns;              // CLOCK_REALTIME
  std::int64_t device_ns = kNoTime;  // of the modelled clock: an estimate
  std::uint64_t bytes = 0;           // moved by a transfer
  std::uint64_t model_id = 0;
};

/// How many buffers (trace_buffer.h) listen.
inline std::atomic<int> listeners{0};

inline bool enabled() noexcept {
  return listeners.load(std::memory_order_relaxed) != 0;
}

/// A number that no other thing being traced has.
std::uint64_t next_tracking_id() noexcept;

/// The host's wall clock.
std::int64_t now_ns() noexcept;

/// What that has at the moment beyond CLOCK_MONOTONIC.
std::int64_t realtime_offset_ns() noexcept;

/// Gives the event to all who listen.
void record(const Event& event) noexcept;

/// Records start and stop of a stretch of code.
class Scope {
 public:
  Scope(EventType type, int core, std::uint64_t bytes = 0) noexcept {
    if (!enabled()) return;
    event_ = {type,     Phase::start, core,  next_tracking_id(),
              now_ns(), kNoTime,      bytes, 0};
    record(event_);
  }
  ~Scope() {
    if (event_.tracking_id == 0) return;
    event_.phase = Phase::stop;
    event_.host_ns = now_ns();
    record(event_);
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  /// 0 while nobody listens.
  std::uint64_t tracking_id() const noexcept { return event_.tracking_id; }

 private:
  Event event_{EventType::nrt_load, Phase::start, -1, 0, 0};
};

}  // namespace emulator::trace
