#include "profile_inspect.h"

#include <unistd.h>

#include <memory>
#include <mutex>

#include "api.h"
#include "env.h"
#include "log.h"
#include "profile.h"
#include "profile_chrome.h"
#include "profile_file.h"
#include "session.h"
#include "status.h"

namespace emulator::inspect {
namespace {

using trace::Buffer;

/// An inspection under way. Listens while it exists.
class Inspection {
 public:
  Inspection(const Settings& settings, std::string directory)
      : directory_(std::move(directory)) {
    profile::make_directories(directory_);
    profile::writable_path(directory_ + "/" + kSystemTrace);
    if (settings.system_profile) {
      buffer_ = std::make_shared<Buffer>(settings.capture);
      trace::listen(buffer_);
    }
    if (settings.device_profile) runs_ = std::make_unique<profile::Listening>();
  }
  ~Inspection() {
    if (buffer_) trace::stop_listening(buffer_);
  }
  Inspection(const Inspection&) = delete;
  Inspection& operator=(const Inspection&) = delete;

  /// Each file, though another one cannot be written.
  void write() const {
    std::string problems;
    if (buffer_) write_file(kSystemTrace, buffer_->fetch({}) + "\n", &problems);
    if (runs_) {
      const auto recording = runs_->recorder().recording();
      write_file(kProfile, profile::chrome_trace(recording), &problems);
    }
    if (!problems.empty()) throw StatusError(NRT_FAILURE, problems);
  }

 private:
  void write_file(const std::string& name, const std::string& content,
                  std::string* problems) const {
    try {
      profile::write_file(directory_ + "/" + name, content);
    } catch (const StatusError& error) {
      *problems += (problems->empty() ? "" : "; ") + std::string(error.what());
    }
  }

  static constexpr char kSystemTrace[] = "emulator_system_trace.json";
  static constexpr char kProfile[] = "emulator_profile.json";

  const std::string directory_;
  std::shared_ptr<Buffer> buffer_;
  std::unique_ptr<profile::Listening> runs_;
};

/// The one inspection of the process.
struct Current {
  std::mutex mutex;
  std::unique_ptr<Inspection> inspection;
  bool hooked = false;  // to the session's end
};

Current& current() {
  static auto* const instance = new Current;
  return *instance;
}

/// At nrt_close: what is under way is written.
void close() {
  try {
    {
      Current& now = current();
      std::lock_guard<std::mutex> lock(now.mutex);
      now.hooked = false;
      if (!now.inspection) return;
    }
    stop();
  } catch (...) {
    status_of_current_exception("nrt_close");
  }
}

std::string directory_for(const Session& session, const std::string& output) {
  return output + "/" + session.topology().instance().name + "_pid_" +
         std::to_string(getpid());
}

CoreRange core_range(const std::string& text) {
  try {
    return parse_core_range(text);
  } catch (const StatusError&) {
    throw StatusError(
        NRT_INVALID,
        "NEURON_RT_INSPECT_EVENT_FILTER_NC should be cores, such as 0,2 or "
        "0-3, but has \"" +
            text + "\"");
  }
}

/// "0,2" or "0-3": these cores only.
void filter_cores(const std::string& text, trace::Capture* capture) {
  constexpr std::uint32_t kMostCores = 4096;
  for (std::uint32_t core = 0; core < kMostCores; ++core) capture->cores[core] = false;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const CoreRange range = core_range(text.substr(begin, end - begin));
    for (std::uint32_t i = 0; i < range.count; ++i) {
      capture->cores[range.first + i] = true;
    }
    begin = end + 1;
  }
}

/// Switches the types that `name` stands for.
void switch_types(const std::string& name, bool on, trace::TypeSet* types) {
  bool known = false;
  for (int i = 0; i < trace::kEventTypes; ++i) {
    const auto type = static_cast<trace::EventType>(i);
    const bool group = name == (is_hardware(type) ? "hardware" : "software");
    if (!group && name != trace::event_name(type)) continue;
    (*types)[static_cast<std::size_t>(i)] = on;
    known = true;
  }
  if (known) return;
  EMULATOR_LOG(nrt, warning, "nrt_init",
               "NEURON_RT_INSPECT_EVENT_FILTER_TYPE: the emulator has no events '%s'",
               name.c_str());
}

/// "hardware", "software", names; "^name" leaves out. Only what is named, if anything
/// is named without ^.
void filter_types(const std::string& text, trace::Capture* capture) {
  bool named = false;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    if (name.front() == '^') {
      switch_types(name.substr(1), false, &capture->types);
      continue;
    }
    if (!named) capture->types.fill(false);
    named = true;
    switch_types(name, true, &capture->types);
  }
}

bool read_device_profile() {
  constexpr char kVariable[] = "NEURON_RT_INSPECT_DEVICE_PROFILE";
  const auto text = env_text(kVariable);
  if (text == "model" || text == "session") return true;
  return env_flag(kVariable, false);
}

}  // namespace

const char* const kActivities[] = {"system_profile", "device_profile", "host_memory",
                                   "cpu_util", nullptr};

Settings Settings::read() {
  Settings settings;
  settings.enabled = env_flag("NEURON_RT_INSPECT_ENABLE", false);
  settings.on_failure = env_flag("NEURON_RT_INSPECT_ON_FAIL", false);
  settings.system_profile = env_flag("NEURON_RT_INSPECT_SYSTEM_PROFILE", true);
  settings.device_profile = read_device_profile();
  settings.host_memory = env_flag("NEURON_RT_INSPECT_HOST_MEMORY", false);
  settings.cpu_util = env_flag("NEURON_RT_INSPECT_CPU_UTIL", false);
  if (const auto text = env_text("NEURON_RT_INSPECT_OUTPUT_DIR")) {
    settings.output_directory = *text;
  }
  if (const auto count = env_number("NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", 1,
                                    1'000'000'000)) {
    settings.capture.max_events_per_core = *count;
  }
  if (const auto text = env_text("NEURON_RT_INSPECT_EVENT_FILTER_NC")) {
    filter_cores(*text, &settings.capture);
  }
  if (const auto text = env_text("NEURON_RT_INSPECT_EVENT_FILTER_TYPE")) {
    filter_types(*text, &settings.capture);
  }
  return settings;
}

bool* activity(Settings& settings, const std::string& name) {
  if (name == "system_profile") return &settings.system_profile;
  if (name == "device_profile") return &settings.device_profile;
  if (name == "host_memory") return &settings.host_memory;
  if (name == "cpu_util") return &settings.cpu_util;
  if (name == "all") return nullptr;
  throw StatusError(NRT_INVALID, "there is no activity '" + name + "'");
}

void begin(Session& session, const Settings& settings) {
  Current& now = current();
  std::lock_guard<std::mutex> lock(now.mutex);
  require(!now.inspection, "inspection is started already");
  if (!settings.enabled) return;
  now.inspection = std::make_unique<Inspection>(
      settings, directory_for(session, settings.output_directory));
  if (now.hooked) return;
  session.on_close(close);
  now.hooked = true;
}

void stop() {
  Current& now = current();
  std::unique_ptr<Inspection> stopped;
  {
    std::lock_guard<std::mutex> lock(now.mutex);
    require(now.inspection != nullptr, "inspection is not started");
    stopped = std::move(now.inspection);
  }
  stopped->write();
}

void begin_if_enabled(Session& session) {
  if (!env_flag("NEURON_RT_INSPECT_ENABLE", false)) return;
  begin(session, Settings::read());
}

}  // namespace emulator::inspect
