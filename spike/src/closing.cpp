// How a runtime is closed: after what is running, which signals may end the wait for.

#include <chrono>

#include "nrt_wrapper.h"

namespace spike {
namespace {

using Clock = std::chrono::steady_clock;

// How long whoever closes the runtime waits without a look at signals.
constexpr std::chrono::milliseconds kGlance{50};
// How long the end of the process waits for calls that are under way.
constexpr std::chrono::seconds kExitPatience{2};

}  // namespace

void NrtRuntime::close() noexcept {
  close_while([] { return true; });
}

void NrtRuntime::close_or_throw() {
  close_while([] { return callers_lock.check_interrupt(), true; });
}

void NrtRuntime::close_at_exit() {
  const auto end = Clock::now() + kExitPatience;
  try {
    close_while([&] {
      callers_lock.check_interrupt();
      return uses_ == 0 || Clock::now() < end;
    });
  } catch (...) {
    is_left_ = true;
    throw;
  }
}

// Waits for as long as `goes_on` says so, which is asked now and then; else it is left
// for good. It stays open if `goes_on` throws.
void NrtRuntime::close_while(const std::function<bool()>& goes_on) {
  if (is_forked()) return;  // the parent's; its locks may be held for ever here
  while (!takes_turn_soon()) {
    if (is_left_) return;
    if (!goes_on()) is_left_ = true;
  }
  const std::unique_ptr<NrtRuntime, void (*)(NrtRuntime*)> turn(
      this, [](NrtRuntime* runtime) { runtime->end_turn(); });
  if (!is_closed_ && !is_left_) close_in_turn(goes_on);
}

void NrtRuntime::close_in_turn(const std::function<bool()>& goes_on) {
  closing_ = true;
  try {
    while (!is_left_ && !is_idle_soon()) {
      if (!goes_on()) is_left_ = true;
    }
  } catch (...) {
    closing_ = false;
    throw;
  }
  if (!is_left_) close_now();
}

// One thread closes it at a time. Whether it is this one, at once or after a moment.
bool NrtRuntime::takes_turn_soon() {
  const Unlocked unlocked;
  std::unique_lock lock(idle_mutex_);
  if (!idle_.wait_for(lock, kGlance, [this] { return !has_closer_; })) return false;
  return has_closer_ = true;
}

void NrtRuntime::end_turn() {
  std::lock_guard lock(idle_mutex_);
  has_closer_ = false;
  idle_.notify_all();
}

// Whether nothing runs or is in flight, at once or after a moment.
bool NrtRuntime::is_idle_soon() {
  const Unlocked unlocked;
  std::unique_lock idle(idle_mutex_);
  if (!idle_.wait_for(idle, kGlance, [this] { return uses_ == 0; })) return false;
  idle.unlock();
  for (; !pending_.empty(); pending_.pop_front()) {
    if (!pending_.front()->done_soon()) return false;
  }
  return true;
}

}  // namespace spike
