#include "tensor.h"

#include "status.h"

namespace emulator {

TensorView TensorView::part(std::uint64_t part_offset, std::uint64_t part_size) const {
  if (!storage) throw StatusError(NRT_INVALID, "the tensor has no storage");
  // Compared without adding: a sum could overflow.
  if (part_offset > size || part_size > size - part_offset) {
    throw StatusError(NRT_INVALID, "offset " + std::to_string(part_offset) +
                                       " and size " + std::to_string(part_size) +
                                       " leave the tensor's " + std::to_string(size) +
                                       " bytes");
  }
  return {storage, offset + part_offset, part_size};
}

Tensor::Tensor(std::string name, nrt_tensor_placement_t placement, int core,
               TensorView view)
    : name_(std::move(name)),
      placement_(placement),
      core_(core),
      view_(std::move(view)) {}

int Tensor::core() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return core_;
}

nrt_tensor_placement_t Tensor::placement() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return placement_;
}

TensorView Tensor::view() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return view_;
}

void Tensor::attach(std::byte* buffer, std::size_t size) {
  TensorView view{std::make_shared<Storage>(buffer, size), 0, size};
  std::lock_guard<std::mutex> lock(mutex_);
  view_.storage.swap(view.storage);  // the old one goes when `view` does, unlocked
  view_.offset = 0;
  view_.size = size;
  placement_ = NRT_TENSOR_PLACEMENT_VIRTUAL;
  core_ = -1;
}

}  // namespace emulator
