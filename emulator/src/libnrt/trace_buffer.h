// Where events are kept until they are fetched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "trace_events.h"

namespace emulator::trace {

/// What a trace is to hold.
struct Capture {
  static constexpr std::uint64_t kMaxEventsPerCore = 1'000'000;  // as documented

  std::uint64_t max_events_per_core = kMaxEventsPerCore;
  std::map<std::uint32_t, bool> cores;  // those not named are captured
  TypeSet types = all_types();

  bool wants(const Event& event) const noexcept;
};

/// What of a trace is to be fetched.
struct Selection {
  static constexpr std::uint64_t kAll = UINT64_MAX;

  std::uint64_t max_events_per_core = kAll;
  std::uint64_t core = kAll;
};

/// A ring of events for each core: when one is full, its oldest event makes room. Safe
/// to use from many threads.
class Buffer {
 public:
  explicit Buffer(Capture capture) : capture_(std::move(capture)) {}

  void record(const Event& event) noexcept;

  /// Takes events out, oldest first, as the text of a JSON object.
  std::string fetch(const Selection& selection);

 private:
  struct Entry {
    std::uint64_t sequence;  // over all cores
    Event event;
  };
  using Ring = std::deque<Entry>;

  std::vector<Entry> take(const Selection& selection);

  const Capture capture_;
  std::mutex mutex_;
  std::map<int, Ring> rings_;  // by core; -1 for events of none
  std::uint64_t sequence_ = 0;
  std::uint64_t dropped_ = 0;  // since the last fetch
};

/// Lets a buffer receive events.
void listen(std::shared_ptr<Buffer> buffer);

/// The opposite. Does nothing if it does not listen.
void stop_listening(const std::shared_ptr<Buffer>& buffer) noexcept;

}  // namespace emulator::trace
