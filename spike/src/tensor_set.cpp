#include "tensor_set.h"

namespace spike {

std::shared_ptr<NrtTensorSet> NrtTensorSet::make(
    const std::shared_ptr<Runtime>& runtime, const NamedTensors& tensors) {
  std::shared_ptr<NrtTensorSet> made(new NrtTensorSet(runtime));
  Use nrt(runtime, "make a tensor set");
  check(nrt->nrt_allocate_tensor_set(&made->set_), "Failed to allocate tensor set");
  for (auto& [name, tensor] : tensors) {
    made->add(name, tensor);
    tensor->add_dependent(made);
  }
  return made;
}

void NrtTensorSet::add(const std::string& name, const TensorPin& tensor) {
  if (tensor->runtime != runtime_)
    throw SpikeError("Tensor '" + name +
                     "' belongs to another runtime than the model.");
  check(
      runtime_->api().nrt_add_tensor_to_tensor_set(set_, name.c_str(), tensor->tensor),
      "Failed to add tensor to set");
}

void NrtTensorSet::clear() noexcept {
  Use nrt(runtime_);
  std::lock_guard lock(mutex_);
  if (set_ && nrt) nrt->nrt_destroy_tensor_set(&set_);
  set_ = nullptr;
}

}  // namespace spike
