// Everything that lives from nrt_init to nrt_close.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "async_queue.h"
#include "cores.h"
#include "engine.h"
#include "env.h"
#include "execute_line.h"
#include "handle_table.h"
#include "memory.h"
#include "model.h"
#include "tensor.h"
#include "tensor_set.h"
#include "topology.h"

namespace emulator {

/// One of the process's logical cores.
struct Core {
  Core(int core_index, std::uint32_t core_absolute, std::uint32_t bank,
       std::size_t hbm_bytes)
      : index(core_index),
        absolute(core_absolute),
        hbm_index(bank),
        hbm(std::make_shared<HbmPool>(hbm_bytes)),
        queues(core_index) {}

  const int index;               // within the process
  const std::uint32_t absolute;  // within the instance
  const std::uint32_t hbm_index;
  const std::shared_ptr<HbmPool> hbm;
  // One thing at a time runs on the core. What was left behind may outlive the session.
  const std::shared_ptr<ExecutionLine> execution = std::make_shared<ExecutionLine>();
  CoreQueues queues;
  std::uint32_t last_model = 0;  // that has run; for who has the turn to execute
};

/// State between nrt_init and nrt_close. Safe to use from many threads.
class Session {
 public:
  /// Takes the cores. Throws StatusError.
  explicit Session(Environment environment);
  ~Session();

  const Environment& environment() const noexcept { return environment_; }
  const Topology& topology() const noexcept { return topology_; }
  int core_count() const noexcept { return static_cast<int>(cores_.size()); }
  /// Throws StatusError(NRT_INVALID) if the process has no such core.
  Core& core(std::int64_t index) const;

  Memory& memory() noexcept { return *memory_; }
  /// For who must be sure that it stays.
  std::shared_ptr<Memory> shared_memory() noexcept { return memory_; }
  /// The engine, started on first use. Throws StatusError.
  std::shared_ptr<Engine> engine();

  HandleTable<Tensor> tensors;
  HandleTable<TensorSet> tensor_sets;
  HandleTable<Model> models;

  /// Runs at nrt_close, before anything is freed; last registered, first run. For
  /// threads to be joined and files to be written. Must not throw.
  void on_close(std::function<void()> hook);
  /// True once nrt_close has begun: whoever waits should stop.
  bool closing() const noexcept { return closing_.load(); }
  /// Wakes who waits, so that calls under way end. First step of nrt_close.
  void begin_close() noexcept;
  /// Runs the hooks, then frees all objects. No call is under way any more.
  void finish_close() noexcept;
  /// In a forked child: lets go of descriptors, touches nothing else.
  void abandon() noexcept { lease_.abandon(); }

 private:
  Environment environment_;
  Topology topology_;
  CoreLease lease_;
  std::vector<std::unique_ptr<Core>> cores_;
  std::shared_ptr<Memory> memory_;
  std::mutex engine_mutex_;
  std::shared_ptr<Engine> engine_;
  std::mutex hooks_mutex_;
  std::vector<std::function<void()>> hooks_;
  std::atomic<bool> closing_{false};
};

/// Which engine these settings ask for in this process: in_process or child, never
/// automatic, which means in process where there is a Python interpreter.
EngineChoice resolve_engine(const Environment& environment);

/// Starts the engine that the session's environment asks for. Throws StatusError.
std::shared_ptr<Engine> make_engine(Session& session);

}  // namespace emulator
