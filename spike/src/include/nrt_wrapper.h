// Errors, and the runtime: its one instance, its lifetime, and who is using it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "nrt_api.h"

namespace spike {

class SpikeRuntimeError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A mistake that spike itself finds.
class SpikeError : public SpikeRuntimeError {
 public:
  explicit SpikeError(const std::string& text)
      : SpikeRuntimeError("Spike Error: " + text) {}
};

/// A NEFF file that cannot be read.
class NeffFileError : public SpikeError {
  using SpikeError::SpikeError;
};

/// A status other than success that libnrt returned.
class NrtError : public SpikeRuntimeError {
 public:
  NrtError(int status, const std::string& text);
  const int status;
};

/// The documented name of a status, or "UNKNOWN STATUS".
const char* status_name(int status);

/// Throws NrtError with the text unless the status is success.
inline void check(int status, const char* text) {
  if (status != NRT_SUCCESS) throw NrtError(status, text);
}

/// Throws NrtError unless the status is success; its text also has what `detail()`, a
/// string, says was asked for, and where libnrt tells more.
template <class Detail>
void check(int status, const char* text, Detail detail) {
  if (status != NRT_SUCCESS)
    throw NrtError(status, text + (": " + detail()) +
                               " (libnrt's log says why; NEURON_RT_LOG_LEVEL sets how "
                               "much it says)");
}

/// "core 9 of 8 visible ones", as a detail of errors.
std::string describe_core(const NrtApi& api, int core);
/// The environment's choice of cores, as a detail of errors.
std::string describe_environment();

/// Something in flight that the runtime must see the end of before it closes.
class Pending {
 public:
  virtual ~Pending() = default;
  virtual bool done() noexcept = 0;
  virtual void finish() noexcept = 0;
};

/// libnrt between nrt_init and nrt_close; at most one at a time in a process.
///
/// What Python holds has a lease of it, so that it closes after the last of that, or
/// when it is told to. Every call of libnrt happens inside a `Use`: closing waits for
/// all uses to end, and afterwards none begins.
class Runtime : public std::enable_shared_from_this<Runtime> {
 public:
  /// Owns it like any pointer, and closes it with the last copy: what is in flight
  /// then, and owns it too, is waited for.
  using Lease = std::shared_ptr<Runtime>;

  /// Initialises libnrt. Throws SpikeError if a runtime is open, NrtError if libnrt
  /// fails.
  static Lease open(std::shared_ptr<const NrtApi> api);
  /// The runtime that is open in this process, or null.
  static std::shared_ptr<Runtime> active();

  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Waits for what is running, then closes libnrt. Idempotent.
  void close() noexcept;
  bool is_open() const noexcept { return !closing_ && !is_forked(); }
  /// Whether it belongs to the parent process.
  bool is_forked() const noexcept;
  /// Throws a SpikeError that begins with `refusal` and says why, unless it is open.
  void require_open(const std::string& refusal) const;

  /// Keeps an operation alive until it is done or the runtime closes.
  void track(std::shared_ptr<Pending> operation);

  const std::shared_ptr<const NrtApi> api;

 private:
  friend class Use;
  explicit Runtime(std::shared_ptr<const NrtApi> api);
  bool enter() noexcept;  // false if it is not open
  void leave() noexcept;

  const unsigned generation_;  // of forks, when opened
  std::once_flag closed_;
  std::atomic<bool> closing_{false};
  std::atomic<int> uses_{0};
  std::mutex idle_mutex_;
  std::condition_variable idle_;
  std::mutex pending_mutex_;
  std::list<std::shared_ptr<Pending>> pending_;
};

/// Gives up Python's GIL, if this thread holds it, for a scope that may wait: what it
/// waits for may need the GIL to get on.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  void* const thread_state_;
};

/// The scope of calls of libnrt, without the GIL.
class Use {
 public:
  /// Throws SpikeError, which begins with `refusal`, if the runtime is not open.
  Use(std::shared_ptr<Runtime> runtime, const char* refusal);
  /// For destructors: false in a condition if the runtime is not open.
  explicit Use(std::shared_ptr<Runtime> runtime) noexcept
      : runtime_(std::move(runtime)), entered_(runtime_->enter()) {}
  ~Use() {
    if (entered_) runtime_->leave();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const { return entered_; }
  const NrtApi& operator*() const { return *runtime_->api; }
  const NrtApi* operator->() const { return runtime_->api.get(); }

 private:
  const WithoutGil without_gil_;  // first, so that it is taken again last
  const std::shared_ptr<Runtime> runtime_;
  const bool entered_;
};

/// What Python holds of a tensor or a model: a share of it, until it is given up.
template <class Storage>
class Share {
 public:
  using Pin = std::shared_ptr<Storage>;
  Share(std::string label, Runtime::Lease lease, Pin storage = {})
      : label(std::move(label)),
        lease_(std::move(lease)),
        storage_(std::move(storage)) {}

  /// A share for as long as a call needs it. Throws SpikeError, which begins with
  /// `refusal`, if there is none or the runtime is not open.
  Pin pin(const std::string& refusal) const {
    if (!storage_) throw SpikeError(refusal + ": '" + label + "' is no more.");
    storage_->runtime->require_open(refusal);
    return storage_;
  }
  bool is_gone() const { return !storage_ || !storage_->runtime->is_open(); }

  const std::string label;

 protected:
  Runtime::Lease lease_;  // until it is given up; ends after the storage
  Pin storage_;
};

}  // namespace spike
