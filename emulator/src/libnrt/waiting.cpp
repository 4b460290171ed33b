#include "waiting.h"

namespace emulator {

Parking& Parking::instance() {
  // Never destroyed: threads may still wait while the process ends.
  static Parking* const parking = new Parking;
  return *parking;
}

void Parking::notify() noexcept {
  // The lock closes the gap between a waiter's look at its condition and its sleep.
  {
    std::lock_guard<std::mutex> lock(mutex_);
  }
  changed_.notify_all();
}

}  // namespace emulator
