// Errors, and the runtime: its one instance, its lifetime, and who is using it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "callers_lock.h"
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

/// Throws NrtError with the text unless the status is success.
inline void check(int status, const char* text) {
  if (status != NRT_SUCCESS) throw NrtError(status, text);
}

/// Throws NrtError unless the status is success; its text also has what `detail()`, a
/// string, says was asked for, where libnrt tells more, and what `reason()` says.
template <class Detail, class Reason>
void check(int status, const char* text, Detail detail, Reason reason) {
  if (status == NRT_SUCCESS) return;
  const std::string why = reason();  // before the library is called again
  throw NrtError(status, text + (": " + detail()) +
                             " (libnrt's log says why; NEURON_RT_LOG_LEVEL sets how "
                             "much it says)" +
                             why);
}

/// The same without a reason.
template <class Detail>
void check(int status, const char* text, Detail detail) {
  check(status, text, detail, [] { return std::string(); });
}

/// "core 9 of 8 visible ones", as a detail of errors.
std::string describe_core(const NrtApi& api, int core);
/// Why this thread's last call failed, where the library says so, for the front of a
/// detail; else "".
std::string describe_reason(const NrtApi& api);
/// The same for the end of a text.
std::string reason_at_end(const NrtApi& api);
/// The environment's choice of cores, as a detail of errors.
std::string describe_environment();

/// Something in flight that the runtime must see the end of before it closes.
class Pending {
 public:
  virtual ~Pending() = default;
  virtual bool done() noexcept = 0;
  /// Sleeps until it is done, but not for long. Whether it is done.
  virtual bool done_soon() noexcept = 0;
};

/// libnrt between nrt_init and nrt_close; at most one at a time in a process.
///
/// Spikes, tensors and models have a lease of it, so that it closes after the last of
/// them, or when it is told to. Every call of libnrt happens inside a `Use`: closing
/// waits for all uses to end, and afterwards none begins.
class NrtRuntime : public std::enable_shared_from_this<NrtRuntime> {
 public:
  /// Owns it like any pointer, and closes it with the last copy: what is in flight
  /// then, and owns it too, is waited for.
  using Lease = std::shared_ptr<NrtRuntime>;

  /// Initialises libnrt. Throws SpikeError if a runtime is open, NrtError if libnrt
  /// fails.
  static Lease open(std::shared_ptr<const NrtApi> api);
  /// A lease of the runtime that is there in this process, or null.
  static Lease active();
  /// Whether this process was forked from one that has a runtime, which it cannot use.
  static bool is_parents();

  /// Waits for what is running, then closes libnrt. Idempotent.
  void close() noexcept;
  /// The same, unless the caller's lock throws to end the waiting: it stays open then.
  void close_or_throw();
  /// The same, for the end of the process. Calls that do not end soon are not waited
  /// for, as the process may be ended beside them: libnrt then stays as it is.
  void close_at_exit();
  bool is_open() const noexcept { return !closing_ && !is_forked(); }
  /// Whether it belongs to the parent process.
  bool is_forked() const noexcept;
  /// Throws a SpikeError that begins with `refusal` and says why, unless it is open.
  void require_open(const std::string& refusal) const;

  /// Bytes used and bytes that there are in the device memory of a core. Throws
  /// SpikeError if it is not open, NrtError with what libnrt says.
  std::pair<size_t, size_t> memory_stats(uint32_t core_id);

  /// Keeps it from closing until `leave`, as a `Use` does, but with the caller's lock
  /// held on to. False if it is not open.
  bool enter() noexcept;
  void leave() noexcept;

  /// Keeps an operation alive until it is done or the runtime closes.
  void track(std::shared_ptr<Pending> operation);

  const std::shared_ptr<const NrtApi> api;

 private:
  explicit NrtRuntime(std::shared_ptr<const NrtApi> api);
  void close_while(const std::function<bool()>& goes_on);
  void close_in_turn(const std::function<bool()>& goes_on);
  bool takes_turn_soon();
  void end_turn();
  bool is_idle_soon();
  void close_now();

  const unsigned generation_;  // of forks, when opened
  std::weak_ptr<NrtRuntime> lease_;
  std::atomic<bool> closing_{false};  // or closed
  std::atomic<bool> is_left_{false};  // nobody closes it any more
  bool has_closer_ = false;           // guarded by idle_mutex_
  bool is_closed_ = false;            // the closer's
  std::atomic<int> uses_{0};
  std::mutex idle_mutex_;
  std::condition_variable idle_;
  std::mutex pending_mutex_;
  std::list<std::shared_ptr<Pending>> pending_;
};

/// The scope of calls of libnrt, without the caller's lock.
class Use {
 public:
  /// Throws SpikeError, which begins with `refusal`, if the runtime is not open.
  Use(std::shared_ptr<NrtRuntime> runtime, const char* refusal);
  /// For destructors: false in a condition if the runtime is not open.
  explicit Use(std::shared_ptr<NrtRuntime> runtime) noexcept
      : runtime_(std::move(runtime)), entered_(runtime_->enter()) {}
  ~Use() {
    if (entered_) runtime_->leave();
  }
  explicit operator bool() const { return entered_; }
  const NrtApi& operator*() const { return *runtime_->api; }
  const NrtApi* operator->() const { return runtime_->api.get(); }

 private:
  const Unlocked unlocked_;  // first, so that the lock is taken again last
  const std::shared_ptr<NrtRuntime> runtime_;
  const bool entered_;
};

/// One owner's share of a tensor or a model, until it is given up, which any thread may
/// do at any time. Copies are shares of their own.
template <class Storage>
class Share {
 public:
  using Pin = std::shared_ptr<Storage>;
  Share(std::string label, NrtRuntime::Lease lease, Pin storage)
      : label(std::move(label)),
        held_(std::make_shared<Held>(Held{std::move(lease), std::move(storage)})) {}

  /// The storage for as long as a call needs it. Throws SpikeError, which begins with
  /// `refusal`, if it was given up or the runtime is not open.
  Pin pin(const std::string& refusal) const { return hold(refusal)->storage; }
  /// The storage, or null if it was given up.
  Pin peek() const {
    auto held = std::atomic_load(&held_);
    return held ? held->storage : nullptr;
  }
  bool is_gone() const {
    Pin storage = peek();
    return !storage || !storage->runtime->is_open();
  }

  const std::string label;

 protected:
  struct Held {
    const NrtRuntime::Lease lease;  // outlives the storage
    const Pin storage;
  };
  std::shared_ptr<const Held> hold(const std::string& refusal) const {
    auto held = std::atomic_load(&held_);
    if (!held) throw SpikeError(refusal + ": '" + label + "' is no more.");
    held->storage->runtime->require_open(refusal);
    return held;
  }
  std::shared_ptr<const Held> held_;
};

}  // namespace spike
