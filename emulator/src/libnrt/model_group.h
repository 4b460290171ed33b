// Ranks that execute one program together: every rank is a core, driven by a thread.
//
// The engine runs all ranks in one call. So the ranks' executions meet, and the last
// one to arrive runs them all.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"

namespace emulator {

/// What is known of one rank's call of an execution.
struct RankCall {
  const std::vector<Place>* inputs = nullptr;
  const std::vector<Place>* outputs = nullptr;
  std::shared_ptr<const void> user;  // keeps all of it, as in Program::execute
  int core = 0;
};

/// The ranks of one program. Safe to use from many threads.
class RankGroup {
 public:
  RankGroup(std::string key, std::shared_ptr<Program> program, std::uint32_t ranks);

  const std::string& key() const noexcept { return key_; }
  Program& program() const noexcept { return *program_; }

  /// Gives rank `rank` to `core`; false if someone has the rank or the core has
  /// another.
  bool join(std::uint32_t rank, int core);
  void leave(std::uint32_t rank);

  /// Executes as `rank`: returns when all ranks have. Throws StatusError: what the
  /// execution failed with, for every rank; NRT_TIMEOUT if not all ranks have come by
  /// the deadline; NRT_EXEC_HW_ERR_COLLECTIVES if `stopping` says so meanwhile;
  /// Interrupted: if all ranks have come, the execution goes on, and has a share of the
  /// call's user.
  void execute(std::uint32_t rank, const RankCall& call,
               std::chrono::steady_clock::time_point deadline,
               const std::function<bool()>& stopping);

 private:
  struct Round;

  void run_round(Round* round);
  void wait_for_round(std::uint32_t rank, Round* round,
                      std::chrono::steady_clock::time_point deadline,
                      const std::function<bool()>& stopping);

  const std::string key_;
  const std::shared_ptr<Program> program_;
  std::mutex mutex_;
  std::vector<int> cores_;        // by rank; -1: nobody. Guarded by mutex_
  std::shared_ptr<Round> round_;  // that ranks are arriving for. Guarded by mutex_
};

/// A rank's place in its group, given up on destruction; or a program of its own.
class RankSeat {
 public:
  /// A program that runs alone.
  explicit RankSeat(std::shared_ptr<Program> program, std::uint32_t rank = 0,
                    std::uint32_t ranks = 1)
      : program_(std::move(program)), rank_(rank), ranks_(ranks) {}
  /// A rank that has joined `group`.
  RankSeat(std::shared_ptr<RankGroup> group, std::uint32_t rank, std::uint32_t ranks)
      : group_(std::move(group)), rank_(rank), ranks_(ranks) {}
  RankSeat(RankSeat&&) = default;
  RankSeat& operator=(RankSeat&&) = delete;
  ~RankSeat() {
    if (group_) group_->leave(rank_);
  }

  Program& program() const noexcept { return group_ ? group_->program() : *program_; }
  std::uint32_t rank() const noexcept { return rank_; }
  /// How many ranks the program was loaded for.
  std::uint32_t ranks() const noexcept { return ranks_; }

  /// As RankGroup::execute, or Program::execute for a program that runs alone.
  void execute(const RankCall& call, std::chrono::steady_clock::time_point deadline,
               const std::function<bool()>& stopping) const;

 private:
  std::shared_ptr<Program> program_;
  std::shared_ptr<RankGroup> group_;
  std::uint32_t rank_ = 0, ranks_ = 1;
};

/// The groups of a process that still have members, by program and world size.
class RankGroups {
 public:
  static RankGroups& instance();

  /// Joins a group that lacks this rank, or makes one with what `load` returns: ranks
  /// of one program share its compilation. Throws what `load` throws.
  RankSeat join(const std::string& key, std::uint32_t rank, std::uint32_t ranks,
                int core, const std::function<std::shared_ptr<Program>()>& load);

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<RankGroup>> groups_;
};

}  // namespace emulator
