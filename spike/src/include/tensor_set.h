// Named tensors, as executions take them.
#pragma once

#include "tensor.h"

namespace spike {

using NamedTensors = std::vector<std::pair<std::string, TensorPin>>;

/// Owns one nrt_tensor_set_t. It does not keep its tensors: before one is freed, the
/// set is destroyed, and whoever executes with it has pinned them all.
class NrtTensorSet {
 public:
  /// Throws SpikeError for a tensor of another runtime.
  static std::shared_ptr<NrtTensorSet> make(const std::shared_ptr<NrtRuntime>& runtime,
                                            const NamedTensors& tensors);
  ~NrtTensorSet() { clear(); }

  nrt_tensor_set_t* get() const { return set_; }
  bool is_cleared() const { return !set_; }
  void clear() noexcept;

 private:
  explicit NrtTensorSet(std::shared_ptr<NrtRuntime> runtime)
      : runtime_(std::move(runtime)) {}

  const std::shared_ptr<NrtRuntime> runtime_;
  std::mutex mutex_;
  std::atomic<nrt_tensor_set_t*> set_{nullptr};
};

}  // namespace spike
