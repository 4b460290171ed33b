#include "padding.h"

#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include <cstring>

#include "memory.h"
#include "tensors.h"

namespace spike_torch {
namespace {

int64_t product(const Values& values) { return c10::multiply_integers(values); }

Values row_major(const Values& sizes) {
  Values strides(sizes.size());
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<int64_t>(sizes[i], 1);
  }
  return strides;
}

// What comes first and in one piece: of all factors but the first of more than one,
// all is exact.
bool is_first_part(const Values& exact, const Values& padded) {
  size_t first = 0;
  while (first < padded.size() && padded[first] == 1) ++first;
  for (size_t i = first + 1; i < padded.size(); ++i) {
    if (exact[i] != padded[i]) return false;
  }
  return true;
}

at::Tensor host_tensor(const Values& sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::TensorOptions().dtype(dtype).device(at::kCPU));
}

}  // namespace

Geometry::Geometry(const std::vector<Dimension>& dimensions, const Values& symbols,
                   const std::vector<Values>& factors, size_t item_size) {
  for (size_t i = 0; i < dimensions.size(); ++i) {
    int64_t size = 1;
    for (size_t k = 0; k < dimensions[i].size(); ++k) {
      exact_factors.push_back(dimensions[i][k].evaluate(symbols));
      padded_factors.push_back(factors[i][k]);
      size *= exact_factors.back();
      TORCH_CHECK_VALUE(
          0 <= exact_factors.back() && exact_factors.back() <= factors[i][k],
          "nkipy: a size is ", exact_factors.back(),
          ", and the program was compiled for ", factors[i][k]);
    }
    exact.push_back(size);
    padded.push_back(product(factors[i]));
  }
  exact_strides = row_major(exact);
  padded_strides = row_major(padded);
  corner_strides = row_major(padded_factors);
  is_whole = exact_factors == padded_factors;
  is_prefix = is_first_part(exact_factors, padded_factors);
  exact_bytes = static_cast<size_t>(product(exact)) * item_size;
  padded_bytes = static_cast<size_t>(product(padded)) * item_size;
}

at::Tensor tensor_on(const c10::Storage& storage, at::ScalarType dtype,
                     at::IntArrayRef sizes, at::IntArrayRef strides) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(storage),
      c10::DispatchKeySet(storage.device_type() == c10::DeviceType::CPU
                              ? c10::DispatchKey::CPU
                              : c10::DispatchKey::PrivateUse1),
      c10::scalarTypeToTypeMeta(dtype));
  made.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return made;
}

c10::Storage core_storage(size_t size, c10::DeviceIndex core) {
  return storage_of(allocate(size, core), size);
}

c10::Storage host_storage(size_t size) {
  return host_tensor({static_cast<int64_t>(size)}, at::kByte).storage();
}

at::Tensor corner_of(const c10::Storage& bucket, at::ScalarType dtype,
                     const Geometry& geometry) {
  return tensor_on(bucket, dtype, geometry.exact_factors, geometry.corner_strides);
}

void pad_into(const c10::Storage& bucket, const at::Tensor& tensor,
              const Geometry& geometry, bool on_device, bool is_filled) {
  const at::ScalarType dtype = tensor.scalar_type();
  if (is_filled) {
    const Memory memory = memory_of(bucket.data_ptr());
    check(spike().tensor_fill(memory.tensor, memory.offset, 0xff, bucket.nbytes()),
          "fill padding");
  }
  const at::Tensor exact = tensor.reshape(geometry.exact_factors);
  if (on_device || geometry.is_whole) {
    corner_of(bucket, dtype, geometry).copy_(exact);
    return;
  }
  const at::Tensor host = host_tensor(geometry.padded_factors, dtype);
  if (is_filled) std::memset(host.mutable_data_ptr(), 0xff, host.nbytes());
  host.as_strided(geometry.exact_factors, geometry.corner_strides).copy_(exact);
  tensor_on(bucket, dtype, geometry.padded_factors, geometry.corner_strides)
      .copy_(host);
}

void cut_into(const at::Tensor& tensor, const c10::Storage& bucket,
              const Geometry& geometry) {
  tensor.copy_(
      corner_of(bucket, tensor.scalar_type(), geometry).reshape(geometry.exact));
}

at::Tensor cut_result(const c10::Storage& bucket, at::ScalarType dtype,
                      const Geometry& geometry, const Cut& how) {
  const bool is_on_cpu = bucket.device_type() == c10::DeviceType::CPU;
  const bool moves = how.to_cpu && !is_on_cpu;
  if (how.is_padded) {
    const auto whole =
        tensor_on(bucket, dtype, geometry.padded, geometry.padded_strides);
    return moves ? host_tensor(geometry.padded, dtype).copy_(whole) : whole;
  }
  const bool stays = geometry.is_whole || (geometry.is_prefix && !how.is_copied);
  if (!moves && stays)
    return tensor_on(bucket, dtype, geometry.exact, geometry.exact_strides);
  const auto corner = corner_of(bucket, dtype, geometry);
  if (moves || is_on_cpu)
    return host_tensor(geometry.exact_factors, dtype)
        .copy_(corner)
        .view(geometry.exact);
  const auto own = core_storage(geometry.exact_bytes, bucket.device().index());
  const auto made = tensor_on(own, dtype, geometry.exact, geometry.exact_strides);
  made.view(geometry.exact_factors).copy_(corner);
  return made;
}

}  // namespace spike_torch
