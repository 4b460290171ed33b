// System-trace sessions.
#pragma once

#include <optional>

#include "nrt_wrapper.h"

namespace spike {

/// Records libnrt's events from construction until `stop`. libnrt has one trace for the
/// whole process, so there is at most one session at a time.
class SystemTraceSession {
 public:
  /// Traces one core, or all. Throws SpikeError if another session is running.
  SystemTraceSession(std::shared_ptr<NrtRuntime> runtime,
                     std::optional<uint32_t> core_id);
  ~SystemTraceSession();
  SystemTraceSession(const SystemTraceSession&) = delete;
  SystemTraceSession& operator=(const SystemTraceSession&) = delete;

  /// Idempotent.
  void stop();
  /// The events since the last fetch, as JSON; empty if there are none. Throws
  /// SpikeError once stopped.
  std::string fetch() { return take_events("fetch"); }
  /// Drops the events that there are.
  void drain() { take_events("drain"); }

 private:
  void start(const Use& nrt);
  std::string take_events(const std::string& action);

  const std::shared_ptr<NrtRuntime> runtime_;
  const std::optional<uint32_t> core_id_;
  bool started_ = false;
};

}  // namespace spike
