#include "nrt_wrapper.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

namespace spike {
namespace {

// The process's one runtime. Never destroyed: tensors may outlive static objects at
// exit.
struct Slot {
  std::mutex mutex;
  NrtRuntime* current = nullptr;
  std::atomic<unsigned> forks{0};

  static Slot& slot() {
    static Slot* instance = [] {
      // In a child the mutex may be held by a thread that is not there any more.
      pthread_atfork(nullptr, nullptr, [] {
        new (&slot().mutex) std::mutex;
        ++slot().forks;
      });
      return new Slot;
    }();
    return *instance;
  }
};

}  // namespace

NrtError::NrtError(int status, const std::string& text)
    : SpikeRuntimeError("NRT Error " + std::string(status_name(status)) + "(" +
                        std::to_string(status) + "): " + text),
      status(status) {}

std::string describe_core(const NrtApi& api, int core) {
  std::string text = "core " + std::to_string(core);
  uint32_t count = 0;
  if (api.nrt_get_visible_nc_count(&count) != NRT_SUCCESS) return text;
  return text + " of " + std::to_string(count) + " visible ones";
}

namespace {

std::string last_error(const NrtApi& api) {
  return api.nkipy_emulator_last_error ? api.nkipy_emulator_last_error() : "";
}

}  // namespace

std::string describe_reason(const NrtApi& api) {
  const std::string reason = last_error(api);
  return reason.empty() ? reason : reason + "; ";
}

std::string reason_at_end(const NrtApi& api) {
  const std::string reason = last_error(api);
  return reason.empty() ? reason : "; " + reason;
}

std::string describe_environment() {
  std::string text;
  for (auto* name : {"NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"}) {
    const char* value = std::getenv(name);
    text += (text.empty() ? "" : ", ") + std::string(name) +
            (value ? "=" + std::string(value) : " is not set");
  }
  return text;
}

NrtRuntime::NrtRuntime(std::shared_ptr<const NrtApi> api)
    : api(std::move(api)), generation_(Slot::slot().forks) {}

NrtRuntime::Lease NrtRuntime::open(std::shared_ptr<const NrtApi> api) {
  const Unlocked unlocked;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  const std::string refusal = "Cannot create Spike instance";
  if (slot.current && slot.current->is_forked()) slot.current->require_open(refusal);
  if (slot.current)
    throw SpikeError(refusal +
                     ": a previous instance still exists. Call close() on it, or "
                     "delete spike with all tensors/models first.");
  int status = api->nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "spike", "1.0");
  check(status, "Failed to initialize NRT runtime",
        [&] { return describe_reason(*api) + describe_environment(); });
  std::shared_ptr<NrtRuntime> runtime(new NrtRuntime(std::move(api)));
  slot.current = runtime.get();
  Lease lease(runtime.get(), [runtime](auto*) { runtime->close(); });
  runtime->lease_ = lease;
  return lease;
}

NrtRuntime::Lease NrtRuntime::active() {
  const Unlocked unlocked;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  return slot.current && slot.current->is_open() ? slot.current->lease_.lock()
                                                 : nullptr;
}

bool NrtRuntime::is_parents() {
  const Unlocked unlocked;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  return slot.current && slot.current->is_forked();
}

bool NrtRuntime::is_forked() const noexcept {
  return Slot::slot().forks != generation_;
}

void NrtRuntime::close_now() {
  const Unlocked unlocked;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  api->nrt_close();
  slot.current = nullptr;
  lease_.reset();  // a weak copy keeps what the lease ends with, which owns this
  is_closed_ = true;
}

bool NrtRuntime::enter() noexcept {
  if (is_forked()) return false;
  ++uses_;
  if (!closing_) return true;
  leave();
  return false;
}

void NrtRuntime::leave() noexcept {
  if (--uses_ == 0 && closing_) {
    std::lock_guard lock(idle_mutex_);
    idle_.notify_all();
  }
}

void NrtRuntime::require_open(const std::string& refusal) const {
  if (is_forked())
    throw SpikeError(
        refusal +
        ": the runtime was opened by the parent process and does not survive a fork. "
        "Start processes with multiprocessing's 'spawn', or fork before first use.");
  if (closing_) throw SpikeError(refusal + ": the runtime is closed.");
}

std::pair<size_t, size_t> NrtRuntime::memory_stats(uint32_t core_id) {
  Use nrt(shared_from_this(), "Unable to get memory stats");
  nrt_vnc_memory_stats_t stats{};
  size_t size = 0;
  check(nrt->nrt_get_vnc_memory_stats(core_id, &stats, sizeof stats, &size),
        "Failed to get memory stats", [&] { return describe_core(*nrt, core_id); });
  return {stats.bytes_used, stats.bytes_limit};
}

void NrtRuntime::track(std::shared_ptr<Pending> operation) {
  std::list<std::shared_ptr<Pending>> done;  // destroyed after the lock is released
  std::lock_guard lock(pending_mutex_);
  for (auto next = pending_.begin(); next != pending_.end();) {
    auto current = next++;
    if ((*current)->done()) done.splice(done.end(), pending_, current);
  }
  pending_.push_back(std::move(operation));
}

Use::Use(std::shared_ptr<NrtRuntime> runtime, const char* refusal)
    : Use(std::move(runtime)) {
  // A runtime that has just been closed is one that is not open for ever.
  if (!entered_) runtime_->require_open(refusal);
}

}  // namespace spike
