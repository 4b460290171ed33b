#include "nrt_wrapper.h"

#include <Python.h>
#include <cxxabi.h>
#include <dlfcn.h>
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
  Runtime* current = nullptr;
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

void* open_library(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw SpikeError(std::string("Failed to load libnrt: ") + dlerror());
  return library;
}

}  // namespace

const char* status_name(int status) {
  switch (status) {
#define X(name, number) \
  case number:          \
    return #name;
    SPIKE_NRT_STATUSES(X)
#undef X
  }
  return "UNKNOWN STATUS";
}

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

std::string describe_environment() {
  std::string text;
  for (auto* name : {"NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"}) {
    const char* value = std::getenv(name);
    text += (text.empty() ? "" : ", ") + std::string(name) +
            (value ? "=" + std::string(value) : " is not set");
  }
  return text;
}

void fail_missing(const char* function) {
  throw SpikeError("This libnrt has no function " + std::string(function) +
                   ", which this needs.");
}

NrtApi::NrtApi(const std::string& path) : library_(open_library(path)) {
  if (!missing_.empty())
    throw SpikeError(path +
                     " is not a libnrt that spike can use. It lacks:" + missing_);
}

void* NrtApi::find(const char* name, bool is_required, const char* version) {
  void* symbol = version ? dlvsym(library_, name, version) : dlsym(library_, name);
  if (!symbol && is_required) missing_ += std::string(" ") + name;
  return symbol;
}

Runtime::Runtime(std::shared_ptr<const NrtApi> api)
    : api(std::move(api)), generation_(Slot::slot().forks) {}

Runtime::Lease Runtime::open(std::shared_ptr<const NrtApi> api) {
  WithoutGil without_gil;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  const std::string refusal = "Cannot create Spike instance";
  if (slot.current && slot.current->is_forked()) slot.current->require_open(refusal);
  if (slot.current)
    throw SpikeError(refusal +
                     ": a previous instance still exists. Call close() on it, or "
                     "delete spike with all tensors/models first.");
  int status = api->nrt_init(kFrameworkNone, "spike", "1.0");
  check(status, "Failed to initialize NRT runtime", describe_environment);
  std::shared_ptr<Runtime> runtime(new Runtime(std::move(api)));
  slot.current = runtime.get();
  return Lease(runtime.get(), [runtime](auto*) { runtime->close(); });
}

std::shared_ptr<Runtime> Runtime::active() {
  WithoutGil without_gil;
  Slot& slot = Slot::slot();
  std::lock_guard lock(slot.mutex);
  return slot.current && slot.current->is_open() ? slot.current->weak_from_this().lock()
                                                 : nullptr;
}

bool Runtime::is_forked() const noexcept { return Slot::slot().forks != generation_; }

void Runtime::close() noexcept {
  WithoutGil without_gil;
  if (is_forked()) return;  // the parent's; its locks may be held for ever here
  std::call_once(closed_, [this] {
    closing_ = true;
    std::unique_lock idle(idle_mutex_);
    idle_.wait(idle, [this] { return uses_ == 0; });
    idle.unlock();
    for (auto& operation : pending_) operation->finish();
    pending_.clear();
    Slot& slot = Slot::slot();
    std::lock_guard lock(slot.mutex);
    api->nrt_close();
    slot.current = nullptr;
  });
}

bool Runtime::enter() noexcept {
  if (is_forked()) return false;
  ++uses_;
  if (!closing_) return true;
  leave();
  return false;
}

void Runtime::leave() noexcept {
  if (--uses_ == 0 && closing_) {
    std::lock_guard lock(idle_mutex_);
    idle_.notify_all();
  }
}

void Runtime::require_open(const std::string& refusal) const {
  if (is_forked())
    throw SpikeError(
        refusal +
        ": the runtime was opened by the parent process and does not survive a fork. "
        "Start processes with multiprocessing's 'spawn', or fork before first use.");
  if (closing_) throw SpikeError(refusal + ": the runtime is closed.");
}

void Runtime::track(std::shared_ptr<Pending> operation) {
  std::list<std::shared_ptr<Pending>> done;  // destroyed after the lock is released
  std::lock_guard lock(pending_mutex_);
  for (auto next = pending_.begin(); next != pending_.end();) {
    auto current = next++;
    if ((*current)->done()) done.splice(done.end(), pending_, current);
  }
  pending_.push_back(std::move(operation));
}

WithoutGil::WithoutGil()
    : thread_state_(PyGILState_Check() ? PyEval_SaveThread() : nullptr) {}

WithoutGil::~WithoutGil() {
  if (thread_state_ == nullptr) return;
  try {
    PyEval_RestoreThread(static_cast<PyThreadState*>(thread_state_));
  } catch (abi::__forced_unwind&) {
    // The interpreter has ended, and before 3.14 ends a daemon thread that comes back
    // to it. That would take this destructor along and abort the process.
    for (;;) pause();
  }
}

Use::Use(std::shared_ptr<Runtime> runtime, const char* refusal)
    : Use(std::move(runtime)) {
  // A runtime that has just been closed is one that is not open for ever.
  if (!entered_) runtime_->require_open(refusal);
}

}  // namespace spike
