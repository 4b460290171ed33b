// Tensors on memory that spike's own tensors have: an operator, as it returns a tensor.

#include <ATen/Functions.h>
#include <torch/library.h>

#include "memory.h"
#include "tensors.h"

namespace spike_torch {
namespace {

// `share`: the address of a SpikeTensor, which is taken over.
at::Tensor attached(int64_t share, at::IntArrayRef sizes, at::ScalarType dtype) {
  c10::DataPtr data = attach(reinterpret_cast<SpikeTensor*>(share));
  const size_t size = memory_of(data).size;
  const c10::Device device = data.device();
  at::Tensor made = at::empty({0}, at::TensorOptions().dtype(dtype).device(device));
  made.set_(storage_of(std::move(data), size));
  return made.narrow(0, 0, c10::multiply_integers(sizes)).view(sizes);
}

TORCH_LIBRARY_FRAGMENT(spike_torch, m) {
  m.def("attached(int share, int[] sizes, ScalarType dtype) -> Tensor", attached);
}

}  // namespace
}  // namespace spike_torch
