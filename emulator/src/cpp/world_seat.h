// A rank's place in a world that may still be forming.

#ifndef NKIPY_EMULATOR_WORLD_SEAT_H_
#define NKIPY_EMULATOR_WORLD_SEAT_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "collective_exchange.h"

namespace nkipy {

// Whoever joins a world gets a seat at once, and the world when all ranks have come.
// Safe to use from many threads.
class Seat {
 public:
  Seat(uint32_t rank, uint32_t ranks) : rank_(rank), ranks_(ranks) {}

  uint32_t rank() const { return rank_; }
  uint32_t ranks() const { return ranks_; }

  // The world is there. See Member for the links.
  void form(std::shared_ptr<WorldMemory> memory,
            std::vector<std::unique_ptr<Link>> links) {
    const std::lock_guard<std::mutex> lock(mutex_);
    member_ = std::make_shared<Member>(std::move(memory), rank_, std::move(links));
    if (!reason_.empty()) member_->leave();
    for (const uint32_t rank : lost_) member_->memory().lose(rank);
    changed_.notify_all();
  }

  // Ends it, for all its ranks if it is there. The first reason stays.
  void fail(const std::string& reason) {
    if (const auto member = end_with(reason)) member->fail(reason);
  }

  // The same where rank `rank`, of another machine, has ended: see Member::end.
  void end(uint32_t rank, const std::string& reason) {
    if (rank >= ranks_) return;
    std::shared_ptr<Member> member;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      member = member_;
    }
    if (member) member->end(rank, reason);
    end_with(reason);
  }

  // This rank does nothing any more. The others may still do what they can without it.
  void leave(const std::string& reason) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (reason_.empty()) reason_ = reason;
    if (member_) member_->leave();
    changed_.notify_all();
  }

  // Another rank has left: the world goes on for what needs it no more.
  void lose(uint32_t rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (rank >= ranks_) return;
    if (member_) {
      member_->memory().lose(rank);
    } else {
      lost_.push_back(rank);
    }
  }

  // Of the world, when it is there; else null.
  std::shared_ptr<WorldMemory> memory() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return member_ ? member_->shared_memory() : nullptr;
  }

  // Whom it still waits for, for people.
  void expect(const std::string& whom) {
    const std::lock_guard<std::mutex> lock(mutex_);
    expected_ = whom;
  }

  // How long programs wait in it for others; 0: until they end.
  void limit(std::chrono::milliseconds limit) { limit_ = limit.count(); }
  std::chrono::milliseconds limit() const {
    return std::chrono::milliseconds(limit_.load());
  }

  std::string reason() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return known_reason();
  }

  // As Member::run, in the world that has formed by then.
  void run(const Collective& collective, const char* operand, char* result,
           const std::function<bool()>& is_over,
           const std::function<std::string()>& why) {
    await(is_over, why, collective.text)
        ->run(collective, operand, result, is_over, why);
  }

 private:
  // What has ended the world counts more than what this rank has seen of its end.
  std::string known_reason() const {
    if (member_ && member_->memory().has_failed()) return member_->memory().reason();
    return reason_;
  }

  // Nobody waits any more. The member, if there is one.
  std::shared_ptr<Member> end_with(const std::string& reason) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (reason_.empty()) reason_ = reason;
    changed_.notify_all();
    return member_;
  }

  std::shared_ptr<Member> await(const std::function<bool()>& is_over,
                                const std::function<std::string()>& why,
                                const std::string& text) {
    constexpr std::chrono::milliseconds kLookEvery{20};
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      if (!reason_.empty()) throw WorldFailure(known_reason());
      if (member_) return member_;
      if (is_over()) {
        throw WorldFailure(why() + ", in " + text + ", which waited for " + expected_);
      }
      changed_.wait_for(lock, kLookEvery);
    }
  }

  const uint32_t rank_, ranks_;
  std::atomic<int64_t> limit_{0};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Member> member_;
  std::vector<uint32_t> lost_;  // before it was there
  std::string reason_, expected_ = "the other ranks";
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WORLD_SEAT_H_
