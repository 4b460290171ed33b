// Entry points: profiles of a model, continuous profiles, and the older tracer. See
// nrt/nrt_profile.h; inspection is in api_profile_inspect.cpp.
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "api.h"
#include "model.h"
#include "nrt/nrt_profile.h"
#include "profile.h"
#include "profile_chrome.h"
#include "profile_file.h"
#include "session.h"
#include "trace_settings.h"

namespace emulator {
namespace {

using profile::Listening;

struct ContinuousOptions : Guarded<std::string> {  // the output directory
  static constexpr unsigned kHandleTag = 0x23;
  static constexpr const char* kHandleName = "set of continuous profile options";
};

/// The profiles under way in the process.
class Profiles {
 public:
  /// Profiles of a model, by the file's name as it was given.
  void start(Session& session, std::uint64_t model_id, const std::string& filename) {
    const std::string path = profile::writable_path(filename);
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [name, profile] : models_) {
      require(name != filename, "a profile with this file name is started already");
      require(profile.listening->recorder().model_id() != model_id,
              "a profile of this model is started already");
    }
    hook(session);
    models_[filename] = {path, std::make_unique<Listening>(model_id)};
  }

  void stop(const std::string& filename) {
    ModelProfile stopped;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto found = models_.find(filename);
      require(found != models_.end(), "no profile with this file name is started");
      stopped = std::move(found->second);
      models_.erase(found);
    }
    profile::write_file(stopped.path, chrome_trace(stopped.listening->recorder()));
    profile::add_json_name(stopped.path);
  }

  void start_continuous(Session& session, const std::string& directory) {
    std::lock_guard<std::mutex> lock(mutex_);
    require(!continuous_, "continuous profiling is started already");
    profile::make_directories(directory);
    hook(session);
    continuous_ = std::make_unique<Listening>();
  }

  /// Writes what there was so far of a core.
  void save_continuous(int core, const std::string& directory) {
    std::lock_guard<std::mutex> lock(mutex_);
    require(continuous_ != nullptr, "continuous profiling is not started");
    profile::make_directories(directory);
    const std::string path = directory + "/profile_nc_" + std::to_string(core) +
                             "_session_" + std::to_string(++saved_) + ".json";
    profile::write_file(path, chrome_trace(continuous_->recorder(), core));
  }

  void stop_continuous() {
    std::lock_guard<std::mutex> lock(mutex_);
    require(continuous_ != nullptr, "continuous profiling is not started");
    continuous_.reset();
  }

  void start_trace(Session& session) {
    std::lock_guard<std::mutex> lock(mutex_);
    require(!trace_, "the trace is started already");
    hook(session);
    trace_ = std::make_unique<Listening>();
  }

  void stop_trace(const std::string& filename) {
    std::unique_ptr<Listening> stopped;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      require(trace_ != nullptr, "the trace is not started");
      stopped = std::move(trace_);
    }
    profile::write_file(filename, chrome_trace(stopped->recorder()));
  }

 private:
  struct ModelProfile {
    std::string path;
    std::unique_ptr<Listening> listening;
  };

  static std::string chrome_trace(const profile::Recorder& recorder, int core = -1) {
    return profile::chrome_trace(recorder.recording(core));
  }

  /// Profiles that nobody stops end with the session, and are not written.
  void hook(Session& session) {
    if (hooked_) return;
    session.on_close([this] { close(); });
    hooked_ = true;
  }

  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    hooked_ = false;
    models_.clear();
    continuous_.reset();
    trace_.reset();
  }

  std::mutex mutex_;
  std::map<std::string, ModelProfile> models_;
  std::unique_ptr<Listening> continuous_;
  std::unique_ptr<Listening> trace_;
  int saved_ = 0;
  bool hooked_ = false;
};

Profiles& profiles() {
  static auto* const instance = new Profiles;
  return *instance;
}

std::string directory_of(const nrt_profile_continuous_options_t* options) {
  const std::string directory = settings_of<ContinuousOptions>(options);
  return directory.empty() ? "./output" : directory;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_profile_start(nrt_model_t* model, const char* filename) {
  return api_call("nrt_profile_start", [&](Session& session) {
    require(filename && *filename, "the file name is NULL or empty");
    profiles().start(session, session.models.get(model)->id(), filename);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_profile_stop(const char* filename) {
  return api_call("nrt_profile_stop", [&](Session&) {
    require(filename && *filename, "the file name is NULL or empty");
    profiles().stop(filename);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS
nrt_profile_continuous_options_allocate(nrt_profile_continuous_options_t** options) {
  return allocate_settings<ContinuousOptions>("nrt_profile_continuous_options_allocate",
                                              options);
}

NRT_API void nrt_profile_continuous_options_free(
    nrt_profile_continuous_options_t* options) {
  release_settings<ContinuousOptions>("nrt_profile_continuous_options_free", options);
}

NRT_API NRT_STATUS nrt_profile_continuous_options_set_output_dir(
    nrt_profile_continuous_options_t* options, const char* directory) {
  return edit_settings<ContinuousOptions>(
      "nrt_profile_continuous_options_set_output_dir", options,
      [&](std::string& setting) {
        require(directory && *directory, "the directory is NULL or empty");
        setting = directory;
      });
}

NRT_API NRT_STATUS
nrt_profile_continuous_start(nrt_profile_continuous_options_t* options) {
  return api_call("nrt_profile_continuous_start", [&](Session& session) {
    profiles().start_continuous(session, directory_of(options));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS
nrt_profile_continuous_save(uint32_t vnc, nrt_profile_continuous_options_t* options) {
  return api_call("nrt_profile_continuous_save", [&](Session& session) {
    profiles().save_continuous(session.core(vnc).index, directory_of(options));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_profile_continuous_stop(void) {
  return api_call("nrt_profile_continuous_stop", [](Session&) {
    profiles().stop_continuous();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_trace_start(bool) {
  return api_call("nrt_trace_start", [](Session& session) {
    profiles().start_trace(session);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_trace_stop(const char* filename) {
  return api_call("nrt_trace_stop", [&](Session&) {
    require(filename && *filename, "the file name is NULL or empty");
    profiles().stop_trace(filename);
    return NRT_SUCCESS;
  });
}
