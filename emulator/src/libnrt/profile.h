// Profiles: which runs there were, for a timeline to be written of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine.h"

namespace emulator::profile {

/// One run of a program. Times in ns of CLOCK_MONOTONIC, which the processes of a
/// machine have in common, and which no one sets.
struct Run {
  int core;
  std::uint64_t model_id;
  std::int64_t host_begin_ns;  // measured
  std::int64_t host_end_ns;
  std::int64_t device_begin_ns;  // modelled
  std::int64_t switch_ns;        // before that, estimated; 0: the core ran the same
};

/// What is written of a program.
struct ProgramRecord {
  std::string name;
  std::uint32_t rank;
  std::uint32_t ranks;  // that it was loaded for
  std::shared_ptr<const CostEstimate> cost;
};

struct Recording {
  std::vector<Run> runs;
  std::map<std::uint64_t, ProgramRecord> programs;  // by model
  std::uint64_t dropped_runs = 0;
};

/// Collects runs, of one model or of all, up to a number. Safe to use from many
/// threads.
class Recorder {
 public:
  static constexpr std::size_t kMaxRuns = 100'000;

  explicit Recorder(std::optional<std::uint64_t> model_id = std::nullopt)
      : model_id_(model_id) {}

  std::optional<std::uint64_t> model_id() const noexcept { return model_id_; }
  void add(const Run& run, const ProgramRecord& program);
  /// What was collected so far; of one core only, if `core` is not -1.
  Recording recording(int core = -1) const;

 private:
  const std::optional<std::uint64_t> model_id_;
  mutable std::mutex mutex_;
  Recording recording_;
};

/// How many recorders listen.
inline std::atomic<int> recorders{0};

inline bool enabled() noexcept {
  return recorders.load(std::memory_order_relaxed) != 0;
}

/// Gives a run to all who listen.
void record(const Run& run, const ProgramRecord& program);

/// Lets a recorder receive runs, and no more.
void listen(std::shared_ptr<Recorder> recorder);
void stop_listening(const std::shared_ptr<Recorder>& recorder) noexcept;

/// A recorder that listens while it exists.
class Listening {
 public:
  explicit Listening(std::optional<std::uint64_t> model_id = std::nullopt)
      : recorder_(std::make_shared<Recorder>(model_id)) {
    listen(recorder_);
  }
  ~Listening() { stop_listening(recorder_); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  const Recorder& recorder() const noexcept { return *recorder_; }

 private:
  const std::shared_ptr<Recorder> recorder_;
};

}  // namespace emulator::profile
