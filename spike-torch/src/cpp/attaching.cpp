// Tensors on memory that spike's own tensors have, and generators' states: operators,
// as they take and return tensors.

#include <ATen/Functions.h>
#include <torch/library.h>

#include "memory.h"
#include "registration.h"
#include "runtime.h"
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

at::Generator default_generator_of(int64_t device) {
  return default_generator(checked_index(device));
}

at::Tensor rng_state(int64_t device) {
  return default_generator_of(device).get_state();
}

void set_rng_state(int64_t device, const at::Tensor& state) {
  at::Generator generator = default_generator_of(device);
  std::lock_guard lock(generator.mutex());
  generator.set_state(state);
}

TORCH_LIBRARY(spike_torch, m) {
  m.def("attached(int share, int[] sizes, ScalarType dtype) -> Tensor", attached);
  m.def("default_generator(int device) -> Generator?", default_generator_of);
  m.def("rng_state(int device) -> Tensor", rng_state);
  m.def("set_rng_state(int device, Tensor state) -> ()", set_rng_state);
}

}  // namespace
}  // namespace spike_torch
