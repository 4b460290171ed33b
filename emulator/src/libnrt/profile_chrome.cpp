#include "profile_chrome.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <map>
#include <utility>

#include "engine_json.h"
#include "profile_timeline.h"

namespace emulator::profile {
namespace {

/// Bounds the file: about 200 bytes each.
constexpr std::size_t kMaxEvents = 1'000'000;

constexpr int kHostProcess = 1;
constexpr int kFirstCoreProcess = 100;
constexpr int kExecutionLane = 1;

/// In the order in which they are shown, below the lane of executions: that in which a
/// program goes through them.
const char* const kLanes[] = {"launch",  "DMA",    "TensorE",    "VectorE",
                              "ScalarE", "GpSimd", "collectives"};

constexpr char kHead[] =
    "{\"otherData\":{\"emulated\":true,\"producer\":\"nkipy-emulator\",\"notice\":"
    "\"Written by the emulator. No Neuron device was involved: the times of the cores "
    "and their engines are ESTIMATES of a cost model; only those of the host were "
    "measured.\",\"dropped_runs\":";

/// What tells a boot of a machine from all others, whose clocks are other ones.
std::string machine() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

/// For the name of a core: which of several ranks it was.
std::string rank_of(const ProgramRecord& program) {
  if (program.ranks == 1) return "";
  return ", rank " + std::to_string(program.rank) + " of " +
         std::to_string(program.ranks);
}

int lane_of(const std::string& engine) {
  int lane = kExecutionLane + 1;
  for (const char* const name : kLanes) {
    if (engine == name) return lane;
    ++lane;
  }
  return lane;
}

/// Lanes of an engine's own queues or cores are numbered and shown below its lane.
constexpr int kLanesOfEngine = 1000;

/// Writes the events, one to a line.
class Writer {
 public:
  Writer(const Recording& recording, std::int64_t origin_ns)
      : recording_(recording), origin_ns_(origin_ns) {}

  std::string write() {
    text_ =
        kHead + std::to_string(recording_.dropped_runs) +
        ",\"clock\":\"CLOCK_MONOTONIC\",\"origin_ns\":" + std::to_string(origin_ns_) +
        ",\"machine\":" + json::quote(machine()) +
        "},\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
    name_processes();
    for (const Run& run : recording_.runs) add_run(run);
    return text_ + "\n]}\n";
  }

 private:
  void add(const std::string& event) {
    if (count_++ != 0) text_ += ',';
    text_ += '\n';
    text_ += event;
  }

  /// What a process or a thread (a lane) is called, and where it is shown: by number.
  void add_name(const char* what, int process, int lane, const std::string& name) {
    const bool is_lane = std::string(what) == "thread";
    const int place = lane < kLanesOfEngine ? lane * kLanesOfEngine : lane;
    add_metadata(what, "_name", process, lane, "\"name\":" + json::quote(name));
    add_metadata(what, "_sort_index", process, lane,
                 "\"sort_index\":" + std::to_string(is_lane ? place : process));
  }

  void add_metadata(const char* what, const char* suffix, int process, int lane,
                    const std::string& args) {
    add("{\"ph\":\"M\",\"name\":\"" + std::string(what) + suffix +
        "\",\"pid\":" + std::to_string(process) + ",\"tid\":" + std::to_string(lane) +
        ",\"args\":{" + args + "}}");
  }

  /// `args` are JSON members.
  void add_slice(const std::string& name, const char* category, int process, int lane,
                 std::int64_t begin_ns, std::int64_t duration_ns,
                 const std::string& args) {
    char times[96];
    const std::int64_t begin = std::max<std::int64_t>(0, begin_ns - origin_ns_);
    std::snprintf(times, sizeof times,
                  "\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64 ".%03d", begin / 1000,
                  static_cast<int>(begin % 1000), duration_ns / 1000,
                  static_cast<int>(duration_ns % 1000));
    add("{\"ph\":\"X\",\"name\":" + json::quote(name) + ",\"cat\":\"" + category +
        "\",\"pid\":" + std::to_string(process) + ",\"tid\":" + std::to_string(lane) +
        "," + times + ",\"args\":{" + args + "}}");
  }

  void name_processes() {
    std::map<int, std::string> cores;  // with the rank of what ran first
    for (const Run& run : recording_.runs) {
      cores.try_emplace(run.core, rank_of(recording_.programs.at(run.model_id)));
    }
    add_name("process", kHostProcess, 0, "host (measured wall clock)");
    for (const auto& [core, rank] : cores) {
      const std::string name = "core " + std::to_string(core);
      add_name("thread", kHostProcess, 1 + core, "executions on " + name);
      const int process = kFirstCoreProcess + core;
      add_name("process", process, 0, name + rank + " (ESTIMATE of a cost model)");
      add_name("thread", process, kExecutionLane, "execution (estimate)");
      for (const char* const lane : kLanes) {
        add_name("thread", process, lane_of(lane), std::string(lane) + " (estimate)");
      }
    }
  }

  void add_run(const Run& run) {
    const ProgramRecord& program = recording_.programs.at(run.model_id);
    const std::string model = "\"model_id\":" + std::to_string(run.model_id) +
                              ",\"rank\":" + std::to_string(program.rank) +
                              ",\"ranks\":" + std::to_string(program.ranks);
    const int process = kFirstCoreProcess + run.core;
    const std::int64_t host_ns =
        std::max<std::int64_t>(0, run.host_end_ns - run.host_begin_ns);
    add_slice(program.name + " (host call)", "host", kHostProcess, 1 + run.core,
              run.host_begin_ns, host_ns, model);
    add_slice(program.name, "estimate", process, kExecutionLane, run.device_begin_ns,
              static_cast<std::int64_t>(program.cost->total_ns), model);
    if (run.switch_ns != 0) {
      add_slice("switch to " + program.name, "estimate", process, kExecutionLane,
                run.device_begin_ns - run.switch_ns, run.switch_ns, model);
    }
    if (count_ + timeline(run.model_id).size() > kMaxEvents) return;
    for (const TimelineEvent& event : timeline(run.model_id)) {
      add_engine_event(run, process, event);
    }
  }

  void add_engine_event(const Run& run, int process, const TimelineEvent& event) {
    std::string args = (event.is_step ? "\"call\":" : "\"opcode\":") +
                       json::quote(event.opcode) +
                       ",\"bytes\":" + std::to_string(event.bytes) +
                       ",\"flops\":" + std::to_string(event.flops);
    if (event.is_step) args += ",\"source\":" + json::quote(event.source);
    if (!event.groups.empty()) {
      args += ",\"replica_groups\":" + json::quote(event.groups);
    }
    add_slice(event.name, "estimate", process, lane_for(process, event),
              run.device_begin_ns + static_cast<std::int64_t>(event.start_ns),
              static_cast<std::int64_t>(event.duration_ns), args);
  }

  /// The engine's lane, in which a step is shown below its event; or one of its own.
  int lane_for(int process, const TimelineEvent& event) {
    const int lane = lane_of(event.engine);
    if (event.lane.empty()) return lane;
    std::map<std::string, int>& known = lanes_[{process, lane}];
    const auto [entry, is_new] = known.try_emplace(
        event.lane, lane * kLanesOfEngine + static_cast<int>(known.size()) + 1);
    if (is_new) {
      add_name("thread", process, entry->second,
               event.engine + " " + event.lane + " (estimate)");
    }
    return entry->second;
  }

  const std::vector<TimelineEvent>& timeline(std::uint64_t model_id) {
    const auto [entry, is_new] = timelines_.try_emplace(model_id);
    if (is_new) {
      entry->second = parse_timeline(recording_.programs.at(model_id).cost->timeline);
    }
    return entry->second;
  }

  const Recording& recording_;
  const std::int64_t origin_ns_;
  std::map<std::uint64_t, std::vector<TimelineEvent>> timelines_;
  // Of engines' queues and cores, by process and the engine's lane.
  std::map<std::pair<int, int>, std::map<std::string, int>> lanes_;
  std::string text_;
  std::size_t count_ = 0;
};

}  // namespace

std::string chrome_trace(const Recording& recording) {
  std::int64_t origin = recording.runs.empty() ? 0 : INT64_MAX;
  for (const Run& run : recording.runs) origin = std::min(origin, run.host_begin_ns);
  return Writer(recording, origin).write();
}

}  // namespace emulator::profile
