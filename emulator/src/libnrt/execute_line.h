// Turns at a core: one execution at a time, first come, first served.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

namespace emulator {

class ExecutionLine {
 public:
  ExecutionLine() = default;
  ExecutionLine(const ExecutionLine&) = delete;
  ExecutionLine& operator=(const ExecutionLine&) = delete;

 private:
  friend class Turn;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::deque<std::uint64_t> tickets_;  // the front one has the turn
  std::uint64_t next_ = 0;
};

/// A place in the line from construction to destruction.
class Turn {
 public:
  explicit Turn(std::shared_ptr<ExecutionLine> line) : line_(std::move(line)) {
    std::lock_guard<std::mutex> lock(line_->mutex_);
    ticket_ = line_->next_++;
    line_->tickets_.push_back(ticket_);
  }
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Waits to be first; false if the deadline came before. May be called on another
  /// thread than the constructor. Throws Interrupted.
  bool wait(std::chrono::steady_clock::time_point deadline);

 private:
  const std::shared_ptr<ExecutionLine> line_;
  std::uint64_t ticket_;
};

}  // namespace emulator
