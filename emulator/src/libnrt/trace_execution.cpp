#include "trace_execution.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "profile.h"

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

ObservedRun::ObservedRun(Core& core, const Model& model) noexcept
    : core_(core),
      model_(model),
      begin_ns_(enabled() || profile::enabled() ? now_ns() : 0) {}

void ObservedRun::done() noexcept try {
  const std::uint32_t last = std::exchange(core_.last_model, model_.id());
  if (begin_ns_ == 0) return;
  const std::int64_t end_ns = now_ns();
  const std::shared_ptr<const CostEstimate> cost = model_.program().cost();
  const bool is_switch = last != 0 && last != model_.id();
  const auto switching = static_cast<std::int64_t>(is_switch ? cost->switch_ns : 0);
  const auto duration = static_cast<std::int64_t>(cost->total_ns);
  const std::int64_t free =
      clocks().advance(core_.index, begin_ns_, switching + duration);
  const std::int64_t start = free + switching;
  if (profile::enabled()) {
    const std::int64_t since = realtime_offset_ns();
    const RankSeat& seat = model_.seat();
    profile::record({core_.index, model_.id(), begin_ns_ - since, end_ns - since,
                     start - since, switching},
                    {model_.description().name, seat.rank(), seat.ranks(), cost});
  }
  if (!enabled()) return;
  if (is_switch) record_event(EventType::model_switch, begin_ns_, free, switching);
  record_event(EventType::nc_exec_running, end_ns, start, duration);
} catch (...) {
  // No memory to note it: the run itself went well.
}

void ObservedRun::record_event(EventType type, std::int64_t host_end_ns,
                               std::int64_t device_ns, std::int64_t duration_ns) const {
  Event event{type, Phase::start, core_.index, next_tracking_id(), begin_ns_};
  event.model_id = model_.id();
  event.device_ns = device_ns;
  trace::record(event);
  event.phase = Phase::stop;
  event.host_ns = host_end_ns;
  event.device_ns = device_ns + duration_ns;
  trace::record(event);
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
