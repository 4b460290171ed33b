#include "profile.h"

#include <algorithm>
#include <shared_mutex>

namespace emulator::profile {
namespace {

/// Who listens. Never destroyed: runs may end during exit.
struct Audience {
  std::shared_mutex mutex;
  std::vector<std::shared_ptr<Recorder>> members;
};

Audience& audience() {
  static Audience* const instance = new Audience;
  return *instance;
}

}  // namespace

void Recorder::add(const Run& run, const ProgramRecord& program) {
  if (model_id_ && *model_id_ != run.model_id) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (recording_.runs.size() >= kMaxRuns) {
    ++recording_.dropped_runs;
    return;
  }
  recording_.programs.try_emplace(run.model_id, program);
  recording_.runs.push_back(run);
}

Recording Recorder::recording(int core) const {
  std::lock_guard<std::mutex> lock(mutex_);
  Recording copy = recording_;
  if (core >= 0) {
    const auto foreign = [core](const Run& run) { return run.core != core; };
    copy.runs.erase(std::remove_if(copy.runs.begin(), copy.runs.end(), foreign),
                    copy.runs.end());
  }
  return copy;
}

void record(const Run& run, const ProgramRecord& program) {
  Audience& all = audience();
  std::shared_lock<std::shared_mutex> lock(all.mutex);
  for (const auto& member : all.members) member->add(run, program);
}

void listen(std::shared_ptr<Recorder> recorder) {
  Audience& all = audience();
  std::unique_lock<std::shared_mutex> lock(all.mutex);
  all.members.push_back(std::move(recorder));
  recorders.store(static_cast<int>(all.members.size()));
}

void stop_listening(const std::shared_ptr<Recorder>& recorder) noexcept {
  Audience& all = audience();
  std::unique_lock<std::shared_mutex> lock(all.mutex);
  const auto found = std::find(all.members.begin(), all.members.end(), recorder);
  if (found != all.members.end()) all.members.erase(found);
  recorders.store(static_cast<int>(all.members.size()));
}

}  // namespace emulator::profile
