#include "session.h"

#include <utility>

#include "engine_interpreter.h"
#include "status.h"

namespace emulator {
namespace {

/// Host tensors share the file with those of the cores: room for as much again, and
/// more.
std::size_t shared_extent(const Topology& topology, const CoreLease& lease) {
  constexpr std::size_t kHost = std::size_t{64} << 30;
  return topology.hbm_bytes_per_logical_core() * lease.count() * 2 + kHost;
}

std::shared_ptr<Backing> make_backing(const Environment& environment,
                                      const Topology& topology,
                                      const CoreLease& lease) {
  if (resolve_engine(environment) == EngineChoice::child) {
    return make_shared_backing(shared_extent(topology, lease));
  }
  return make_private_backing();
}

}  // namespace

EngineChoice resolve_engine(const Environment& environment) {
  if (environment.engine != EngineChoice::automatic) return environment.engine;
  return interpreter_has(kEnginePackage) ? EngineChoice::in_process
                                         : EngineChoice::child;
}

namespace {

// Decided once: the session's memory is of one kind or the other.
Environment with_engine(Environment environment) {
  environment.engine = resolve_engine(environment);
  return environment;
}

}  // namespace

Session::Session(Environment environment)
    : environment_(with_engine(std::move(environment))),
      topology_(environment_),
      lease_(environment_, topology_),
      memory_(std::make_shared<Memory>(make_backing(environment_, topology_, lease_))) {
  for (std::uint32_t index = 0; index < lease_.count(); ++index) {
    const std::uint32_t absolute = lease_.absolute(index);
    cores_.push_back(std::make_unique<Core>(static_cast<int>(index), absolute,
                                            topology_.hbm_index(absolute),
                                            topology_.hbm_bytes_per_logical_core()));
  }
}

Session::~Session() = default;

Core& Session::core(std::int64_t index) const {
  if (index >= 0 && index < core_count()) {
    return *cores_[static_cast<std::size_t>(index)];
  }
  throw StatusError(NRT_INVALID, "core " + std::to_string(index) +
                                     " is not one of the process's " +
                                     std::to_string(core_count()));
}

std::shared_ptr<Engine> Session::engine() {
  std::lock_guard<std::mutex> lock(engine_mutex_);
  if (!engine_) engine_ = make_engine(*this);
  return engine_;
}

void Session::on_close(std::function<void()> hook) {
  std::lock_guard<std::mutex> lock(hooks_mutex_);
  hooks_.push_back(std::move(hook));
}

void Session::begin_close() noexcept {
  closing_ = true;
  Parking::instance().wake();
}

void Session::finish_close() noexcept {
  std::vector<std::function<void()>> hooks;
  {
    std::lock_guard<std::mutex> lock(hooks_mutex_);
    hooks.swap(hooks_);
  }
  for (auto hook = hooks.rbegin(); hook != hooks.rend(); ++hook) (*hook)();
  // Models first: they may hold what the engine gave them.
  models.clear();
  tensor_sets.clear();
  tensors.clear();
  engine_.reset();
}

}  // namespace emulator
