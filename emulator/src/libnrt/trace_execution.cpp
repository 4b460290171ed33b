#include "trace_execution.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "profile.h"
#include "trace_sink.h"

namespace emulator::trace {
namespace {

/// When each core is free again, on the modelled clock.
class DeviceClocks {
 public:
  /// The start of a run that begins on the host at `host_ns` and takes `duration_ns`.
  std::int64_t advance(int core, std::int64_t host_ns, std::int64_t duration_ns) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::int64_t& free = free_[core];
    const std::int64_t start = std::max(free, host_ns);
    free = start + duration_ns;
    return start;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::int64_t> free_;
};

DeviceClocks& clocks() {
  static DeviceClocks* const instance = new DeviceClocks;
  return *instance;
}

}  // namespace

ObservedRun::ObservedRun(int core, std::uint64_t model_id, Program& program) noexcept
    : core_(core),
      model_id_(model_id),
      program_(program),
      begin_ns_(enabled() || profile::enabled() ? now_ns() : 0) {}

void ObservedRun::done() noexcept try {
  if (begin_ns_ == 0) return;
  const std::int64_t end_ns = now_ns();
  const std::shared_ptr<const CostEstimate> cost = program_.cost();
  const auto duration = static_cast<std::int64_t>(cost->total_ns);
  const std::int64_t start = clocks().advance(core_, begin_ns_, duration);
  if (profile::enabled()) {
    profile::record({core_, model_id_, begin_ns_, end_ns, start},
                    {program_.description().name, cost});
  }
  if (!enabled()) return;
  Event event{EventType::nc_exec_running, Phase::start, core_, next_tracking_id(),
              begin_ns_};
  event.model_id = model_id_;
  event.device_ns = start;
  trace::record(event);
  event.phase = Phase::stop;
  event.host_ns = end_ns;
  event.device_ns = start + duration;
  trace::record(event);
} catch (...) {
  // No memory to note it: the run itself went well.
}

void record_numerical_error(int core, std::uint64_t model_id) noexcept {
  if (!enabled()) return;
  Event event{EventType::numerical_error, Phase::start, core, next_tracking_id(),
              now_ns()};
  event.model_id = model_id;
  record(event);
  event.phase = Phase::stop;
  record(event);
}

}  // namespace emulator::trace
