#include "execute_line.h"

#include <algorithm>

#include "waiting.h"

namespace emulator {

Turn::~Turn() {
  std::lock_guard<std::mutex> lock(line_->mutex_);
  const auto place = std::find(line_->tickets_.begin(), line_->tickets_.end(), ticket_);
  const bool was_first = place == line_->tickets_.begin();
  line_->tickets_.erase(place);
  if (was_first && !line_->tickets_.empty()) line_->moved_.notify_all();
}

bool Turn::wait(std::chrono::steady_clock::time_point deadline) {
  const auto is_first = [this] { return line_->tickets_.front() == ticket_; };
  {
    std::lock_guard<std::mutex> lock(line_->mutex_);
    if (is_first()) return true;
  }
  return wait_with_signals(deadline, [&](std::chrono::steady_clock::time_point until) {
    std::unique_lock<std::mutex> lock(line_->mutex_);
    return line_->moved_.wait_until(lock, until, is_first);
  });
}

}  // namespace emulator
