#include "callers_lock.h"

namespace spike {
namespace {

CallersLock callers_lock{[]() -> void* { return nullptr; }, nullptr};

}  // namespace

void set_callers_lock(const CallersLock& lock) { callers_lock = lock; }

Unlocked::Unlocked() : state_(callers_lock.release()) {}

Unlocked::~Unlocked() {
  if (state_) callers_lock.take(state_);
}

}  // namespace spike
