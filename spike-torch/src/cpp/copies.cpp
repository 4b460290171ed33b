// Copies to, from and between cores, of any strides and dtypes.

#include <ATen/ops/_copy_from_and_resize.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstring>

#include "host_tensors.h"
#include "memory.h"
#include "runtime.h"
#include "tensors.h"

namespace spike_torch {
namespace {

using at::Tensor;

bool is_device(const Tensor& tensor) { return tensor.device().is_privateuseone(); }

// Whether one's bytes are the other's, in one piece each. Pieces of one storage may
// overlap, which is for the CPU's own copy to refuse.
bool is_plain(const Tensor& from, const Tensor& to) {
  return !from.is_alias_of(to) && from.dtype() == to.dtype() &&
         from.is_conj() == to.is_conj() && from.is_neg() == to.is_neg() &&
         from.is_non_overlapping_and_dense() && from.sizes() == to.sizes() &&
         from.strides() == to.strides();
}

// Where a tensor's elements begin in what libnrt knows, in bytes.
size_t offset_of(const Tensor& tensor, const Memory& memory) {
  return memory.offset +
         static_cast<size_t>(tensor.storage_offset()) * tensor.itemsize();
}

// What is small is copied here; large memory is copied by all threads.
constexpr size_t kFewBytes = 1 << 18;

/// Copies bytes where they lie. False if that is for the CPU's own copy to do.
bool copied_in_place(const Tensor& from, const Tensor& to) {
  const size_t size = from.nbytes();
  if (size > kFewBytes) return false;
  std::optional<Access> access;
  for (const Tensor* tensor : {&from, &to}) {
    if (!is_device(*tensor)) continue;
    const Memory memory = memory_of(*tensor);
    if (access) {
      require_alive(memory);
    } else {
      access.emplace(memory);
    }
  }
  std::memmove(to.mutable_data_ptr(), from.const_data_ptr(), size);
  return true;
}

/// The same through libnrt.
void transfer(const Tensor& from, const Tensor& to) {
  const Memory source = is_device(from) ? memory_of(from) : Memory();
  const Memory target = is_device(to) ? memory_of(to) : Memory();
  const size_t size = from.nbytes();
  if (source.tensor && target.tensor) {
    check(spike().tensor_copy(source.tensor, offset_of(from, source), target.tensor,
                              offset_of(to, target), size),
          "copy between tensors");
  } else if (source.tensor) {
    check(spike().tensor_read(source.tensor, offset_of(from, source),
                              to.mutable_data_ptr(), size),
          "copy to the CPU");
  } else {
    check(spike().tensor_write(target.tensor, offset_of(to, target),
                               from.const_data_ptr(), size),
          "copy to the device");
  }
}

// It is done when this returns, also where nobody would wait for it.
Tensor copy_from(const Tensor& from, const Tensor& to, bool /*non_blocking*/) {
  if (from.is_same(to)) return to;
  // Of other sizes the CPU's own copy tells whether they fit.
  if (to.numel() == 0 && to.sizes() == from.sizes()) return to;
  require_not_forked();
  const bool is_host = memory_is_host();
  if (is_plain(from, to)) {
    for (const Tensor* tensor : {&from, &to}) {
      if (is_device(*tensor)) require_storage(*tensor);
    }
    if (!is_host) {
      transfer(from, to);
      return to;
    }
    if (copied_in_place(from, to)) return to;
  }
  HostTensors tensors(is_device(to) ? to.device().index() : from.device().index());
  const Tensor source = is_device(from) ? tensors.host(from) : from;
  const Tensor target = is_device(to) ? tensors.host(to) : to;
  target.copy_(source);
  if (is_device(to)) tensors.update(to, target);
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const Tensor& self) {
  HostTensors tensors(self.device().index());
  return at::native::_local_scalar_dense_cpu(tensors.host(self));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar_dense);
}

// What resolves these bits copies, and would come here again.
TORCH_LIBRARY_IMPL(aten, Conjugate, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, Negative, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

}  // namespace
}  // namespace spike_torch
