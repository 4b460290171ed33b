#include "model_group.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "status.h"
#include "waiting.h"

namespace emulator {

// One joint execution.
struct RankGroup::Round {
  std::vector<RankCall> calls;  // by rank; without inputs: not arrived
  std::uint32_t arrived = 0;
  std::atomic<bool> done{false};
  std::exception_ptr failure;  // written before `done`
};

RankGroup::RankGroup(std::string key, std::shared_ptr<Program> program,
                     std::uint32_t ranks)
    : key_(std::move(key)), program_(std::move(program)), cores_(ranks, -1) {}

bool RankGroup::join(std::uint32_t rank, int core) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (cores_[rank] != -1) return false;
  if (std::find(cores_.begin(), cores_.end(), core) != cores_.end()) return false;
  cores_[rank] = core;
  return true;
}

void RankGroup::leave(std::uint32_t rank) {
  std::lock_guard<std::mutex> lock(mutex_);
  cores_[rank] = -1;
}

void RankGroup::execute(std::uint32_t rank, const RankCall& call,
                        std::chrono::steady_clock::time_point deadline,
                        const std::function<bool()>& stopping) {
  std::shared_ptr<Round> round;
  bool is_last = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!round_) {
      round_ = std::make_shared<Round>();
      round_->calls.resize(cores_.size());
    }
    round = round_;
    // Executions on a core take turns, so a rank cannot arrive twice.
    round->calls[rank] = call;
    is_last = ++round->arrived == cores_.size();
    if (is_last) round_.reset();
  }
  if (is_last) {
    run_round(round.get());
  } else {
    wait_for_round(rank, round.get(), deadline, stopping);
  }
  if (round->failure) std::rethrow_exception(round->failure);
}

namespace {

std::shared_ptr<const void> share_of_all(const std::vector<RankCall>& calls) {
  return std::make_shared<const std::vector<RankCall>>(calls);
}

}  // namespace

void RankGroup::run_round(Round* round) {
  try {
    std::vector<Place> inputs, outputs;
    std::vector<int> cores;
    for (const RankCall& call : round->calls) {
      inputs.insert(inputs.end(), call.inputs->begin(), call.inputs->end());
      outputs.insert(outputs.end(), call.outputs->begin(), call.outputs->end());
      cores.push_back(call.core);
    }
    program_->execute(inputs, outputs, share_of_all(round->calls),
                      Printer(std::move(cores)));
  } catch (...) {
    round->failure = std::current_exception();
  }
  for (RankCall& call : round->calls) call.user.reset();
  round->done.store(true);
  Parking::instance().wake();
}

void RankGroup::wait_for_round(std::uint32_t rank, Round* round,
                               std::chrono::steady_clock::time_point deadline,
                               const std::function<bool()>& stopping) {
  const auto over = [&] { return round->done.load() || stopping(); };
  std::exception_ptr interrupt;
  try {
    Parking::instance().wait(over, deadline);
  } catch (const Interrupted&) {
    interrupt = std::current_exception();
  }
  std::uint32_t arrived;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (round_.get() == round) {  // has not begun, and shall not with this rank
      arrived = round->arrived--;
      round->calls[rank] = RankCall();
    } else {
      arrived = 0;
    }
  }
  if (interrupt) std::rethrow_exception(interrupt);
  if (arrived == 0) {  // it has begun: our memory is in use until it ends
    Parking::instance().wait([&] { return round->done.load(); });
    return;
  }
  if (stopping()) {
    throw StatusError(NRT_EXEC_HW_ERR_COLLECTIVES,
                      "the runtime was closed while rank " + std::to_string(rank) +
                          " waited for the other ranks");
  }
  throw StatusError(NRT_TIMEOUT, "rank " + std::to_string(rank) + " waited for " +
                                     std::to_string(cores_.size() - arrived) + " of " +
                                     std::to_string(cores_.size()) +
                                     " ranks to execute; all ranks must");
}

void RankSeat::execute(const RankCall& call,
                       std::chrono::steady_clock::time_point deadline,
                       const std::function<bool()>& stopping) const {
  if (group_) {
    group_->execute(rank_, call, deadline, stopping);
  } else {
    program_->execute(*call.inputs, *call.outputs, call.user, Printer({call.core}));
  }
}

RankGroups& RankGroups::instance() {
  static auto* groups = new RankGroups;  // outlives threads that run at exit
  return *groups;
}

RankSeat RankGroups::join(const std::string& key, std::uint32_t rank,
                          std::uint32_t ranks, int core,
                          const std::function<std::shared_ptr<Program>()>& load) {
  // Held while a program compiles: other ranks want the same one.
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::weak_ptr<RankGroup>> alive;
  for (const std::weak_ptr<RankGroup>& weak : groups_) {
    const std::shared_ptr<RankGroup> group = weak.lock();
    if (!group) continue;
    if (group->key() == key && group->join(rank, core)) {
      return {group, rank, ranks};
    }
    alive.push_back(weak);
  }
  groups_ = alive;
  std::shared_ptr<Program> program = load();
  if (program->description().ranks != ranks) {
    return RankSeat(std::move(program), rank, ranks);
  }
  auto group = std::make_shared<RankGroup>(key, std::move(program), ranks);
  group->join(rank, core);
  alive.push_back(group);
  groups_ = std::move(alive);
  return {group, rank, ranks};
}

}  // namespace emulator
