// Models: a program loaded onto a core.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine.h"
#include "memory.h"
#include "model_group.h"
#include "tensor_set.h"

namespace emulator {

/// The tensors of two tensor sets in a program's order.
struct Binding {
  std::uint64_t input_version = 0;  // of the sets, when they were looked up
  std::uint64_t output_version = 0;
  std::vector<std::weak_ptr<Tensor>> inputs;
  std::vector<std::weak_ptr<Tensor>> outputs;
};

/// A share of a core's HBM, given back on destruction.
class HbmShare {
 public:
  /// Throws StatusError(NRT_RESOURCE) if there is not so much left.
  HbmShare(std::shared_ptr<HbmPool> pool, std::size_t bytes);
  ~HbmShare() { pool_->release(bytes_); }
  HbmShare(const HbmShare&) = delete;
  HbmShare& operator=(const HbmShare&) = delete;

 private:
  const std::shared_ptr<HbmPool> pool_;
  const std::size_t bytes_;
};

/// A program on a core. Safe to use from many threads. Whoever executes it keeps a
/// reference, so that it may be unloaded at any time.
class Model {
 public:
  static constexpr unsigned kHandleTag = 0x13;
  static constexpr const char* kHandleName = "model";

  Model(int core, RankSeat seat, const std::shared_ptr<HbmPool>& hbm);

  /// Counts from 1, unique in the process.
  std::uint32_t id() const noexcept { return id_; }
  int core() const noexcept { return core_; }
  const RankSeat& seat() const noexcept { return seat_; }
  const ProgramDescription& description() const noexcept {
    return program().description();
  }
  Program& program() const noexcept { return seat_.program(); }

  /// Looks up the program's tensors; quick while the sets stay as they are. Throws
  /// StatusError(NRT_INVALID) naming what is missing.
  std::shared_ptr<const Binding> bind(const TensorSet& inputs,
                                      const TensorSet& outputs);

 private:
  const std::uint32_t id_;
  const int core_;
  const RankSeat seat_;
  const HbmShare share_;
  std::mutex mutex_;
  std::shared_ptr<const Binding> binding_;  // the latest; guarded by mutex_
};

}  // namespace emulator
