// System-trace sessions.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "nrt_wrapper.h"

namespace spike {

/// Records libnrt's events from construction until `stop`. libnrt has one trace for the
/// whole process, so there is at most one session at a time.
class SystemTraceSession {
 public:
  /// Traces one core, or all. Throws SpikeError if another session is running.
  SystemTraceSession(std::shared_ptr<Runtime> runtime, std::optional<uint32_t> core_id);
  ~SystemTraceSession();
  SystemTraceSession(const SystemTraceSession&) = delete;
  SystemTraceSession& operator=(const SystemTraceSession&) = delete;

  /// Idempotent.
  void stop();
  /// The events since the last fetch, as JSON; empty if there are none. Throws
  /// SpikeError, saying that it cannot `action`, once stopped.
  std::string take_events(const char* action);

 private:
  int start(const NrtApi& api);

  const std::shared_ptr<Runtime> runtime_;
  const std::optional<uint32_t> core_id_;
  bool started_ = false;
};

}  // namespace spike
