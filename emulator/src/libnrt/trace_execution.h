// Executions as traces and profiles see them: real on the host's clock, modelled on the
// core's.
#pragma once

#include <cstdint>

#include "model.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator::trace {

/// One run of a program on a core, from construction to done(). Costs two loads while
/// nobody listens. One at a time for each core.
///
/// The core's clock is modelled: a run begins on it when it begins on the host, or when
/// the run before it has ended, whichever is later, and lasts as long as the cost model
/// estimates. When another model was the last to run on the core, the switch from that
/// comes first, on the same clock.
class ObservedRun {
 public:
  /// For who has the turn to execute on the core.
  ObservedRun(Core& core, const Model& model) noexcept;
  ObservedRun(const ObservedRun&) = delete;
  ObservedRun& operator=(const ObservedRun&) = delete;

  /// The run succeeded. One that failed leaves no events of the core.
  void done() noexcept;

 private:
  void record_event(EventType type, std::int64_t host_end_ns, std::int64_t device_ns,
                    std::int64_t duration_ns) const;

  Core& core_;
  const Model& model_;
  std::int64_t begin_ns_;  // of the host; 0 while nobody listens
};

/// A run's results have NaN, and that is an error: an event without duration.
void record_numerical_error(int core, std::uint64_t model_id) noexcept;

}  // namespace emulator::trace
