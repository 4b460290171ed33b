// The interface to the runtime: what loads, allocates, reads, writes and executes.
#pragma once

#include "prepared_call.h"

namespace spike {

/// An open runtime, for tensors and models to be made in. Destroying a Spike lets the
/// runtime go on for as long as there are tensors or models; closing it does not.
///
/// What is done with a tensor is done by the Spike that it belongs to, as in
/// `spike.own(tensor).write(data, size, offset)`, and what is done with a model as in
/// `spike.prepare(model, inputs, outputs).execute()`: these throw SpikeError for what
/// is of another.
class Spike {
 public:
  /// Opens the process's runtime. Throws SpikeError if one is open, NrtError if libnrt
  /// fails.
  explicit Spike(std::shared_ptr<const NrtApi> api)
      : runtime_(NrtRuntime::open(std::move(api))) {}
  /// How many cores this process may use. Needs no runtime.
  static uint32_t visible_core_count(const NrtApi& api);
  /// Version of libnrt as "1.2.3.4 (detail)"; "unknown" if it cannot say.
  static std::string runtime_version(const NrtApi& api);

  /// After running calls. Idempotent.
  void close() { runtime_->close_or_throw(); }
  bool is_closed() const { return !runtime_->is_open(); }
  /// For what uses libnrt in files of its own.
  const NrtRuntime::Lease& runtime() const { return runtime_; }
  /// Bytes used and bytes that there are in the device memory of a core.
  std::pair<size_t, size_t> memory_stats(uint32_t core_id) const {
    return runtime_->memory_stats(core_id);
  }

  NrtTensor allocate_tensor(size_t size, int core_id, const std::string& name) const {
    return NrtTensor::allocate(runtime_, size, core_id, name);
  }
  void free_tensor(NrtTensor& tensor) const { tensor.free(); }

  NrtModel load_model(const std::string& neff_path, const Placement& placement) const {
    return NrtModel::load(runtime_, neff_path, placement);
  }
  void unload_model(NrtModel& model) const { model.unload(); }
  ModelTensorInfo get_tensor_info(const NrtModel& model) const {
    return model.tensor_info();
  }
  /// What executes the model, profiles and benchmarks it, with these tensors.
  PinnedCall prepare(const NrtModel& model, const NamedTensors& inputs,
                     const NamedTensors& outputs) const {
    return PinnedCall::make(own(model), inputs, outputs);
  }

  /// `object`, a tensor or model, which is of this instance if both are open: a process
  /// has one runtime. Throws SpikeError if this is closed.
  template <class Object>
  Object& own(Object& object) const {
    runtime_->require_open("Unable to use a closed Spike instance");
    return object;
  }

 private:
  const NrtRuntime::Lease runtime_;
};

}  // namespace spike
