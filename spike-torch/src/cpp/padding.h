// Tensors in a corner of larger ones.
#pragma once

#include <ATen/core/Tensor.h>

#include "sizes.h"

namespace spike_torch {

/// Exact sizes in the corner of a bucket's, all row-major. A dimension may be
/// composite: each of its factors has a corner of its own then.
struct Geometry {
  /// `dimensions` with `symbols`, and the same in a bucket.
  Geometry(const std::vector<Dimension>& dimensions, const Values& symbols,
           const std::vector<Values>& padded_factors, size_t item_size);

  Values exact, padded;                  // by dimension
  Values exact_factors, padded_factors;  // by factor
  Values exact_strides, padded_strides;  // by dimension, of one piece each
  Values corner_strides;                 // of the exact factors in the bucket
  bool is_whole = true;                  // nothing is padded
  bool is_prefix = true;                 // what is exact comes first, in one piece
  size_t exact_bytes, padded_bytes;
};

/// A tensor on a storage of a core or of the CPU, from its first byte on.
at::Tensor tensor_on(const c10::Storage& storage, at::ScalarType dtype,
                     at::IntArrayRef sizes, at::IntArrayRef strides);
/// New memory.
c10::Storage core_storage(size_t size, c10::DeviceIndex core);
c10::Storage host_storage(size_t size);

/// What is exact of a bucket, by its factors: a view.
at::Tensor corner_of(const c10::Storage& bucket, at::ScalarType dtype,
                     const Geometry& geometry);

/// Copies a tensor of exact sizes into the corner of a bucket on a core, on the core or
/// on the host before it goes there. The padding stays what it was.
void pad_into(const c10::Storage& bucket, const at::Tensor& tensor,
              const Geometry& geometry, bool on_device, bool is_filled);
/// Copies the corner back, to a tensor of exact sizes.
void cut_into(const at::Tensor& tensor, const c10::Storage& bucket,
              const Geometry& geometry);

/// How a result is returned.
struct Cut {
  bool is_padded = false, is_copied = false, to_cpu = false;
};
/// `bucket` is the core's memory, or the CPU's, where results go to the CPU.
at::Tensor cut_result(const c10::Storage& bucket, at::ScalarType dtype,
                      const Geometry& geometry, const Cut& how);

}  // namespace spike_torch
