#include "tensor_set.h"

namespace spike {

std::shared_ptr<NrtTensorSet> NrtTensorSet::make(
    const std::shared_ptr<NrtRuntime>& runtime, const NamedTensors& tensors) {
  std::shared_ptr<NrtTensorSet> made(new NrtTensorSet(runtime));
  // Tensors share `made`, so that whoever is first destroys the set and others wait;
  // but it is not theirs to keep: it ends with the last share of this one.
  std::shared_ptr<NrtTensorSet> owner(made.get(), [made](auto* set) { set->clear(); });
  Use nrt(runtime, "Unable to make a tensor set");
  nrt_tensor_set_t* set = nullptr;
  check(nrt->nrt_allocate_tensor_set(&set), "Failed to allocate tensor set");
  made->set_ = set;
  for (auto& [name, tensor] : tensors) {
    if (tensor->runtime != runtime)
      throw SpikeError("Tensor '" + name +
                       "' belongs to another runtime than the model.");
    check(nrt->nrt_add_tensor_to_tensor_set(set, name.c_str(), tensor->tensor),
          "Failed to add tensor to set");
    tensor->add_dependent(made);
  }
  return owner;
}

void NrtTensorSet::clear() noexcept {
  Use nrt(runtime_);
  std::lock_guard lock(mutex_);
  nrt_tensor_set_t* set = set_.exchange(nullptr);
  if (set && nrt) nrt->nrt_destroy_tensor_set(&set);
}

}  // namespace spike
