// What tells calls of operators apart that are not computed by the same program.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>

#include <optional>

namespace spike_torch {

/// An operator with its arguments: of tensors dtypes, sizes and strides; the others
/// themselves; and what else results depend on.
struct CallKey {
  c10::SmallVector<int64_t, 48> words;
  size_t hash = 0;

  bool operator==(const CallKey& other) const {
    return hash == other.hash && words == other.words;
  }
};

/// Tensors of a core among the arguments, in their order, and the key.
struct KeyedCall {
  CallKey key;
  c10::SmallVector<at::Tensor, 6> tensors;
};

/// None for a call that no program computes: one with empty tensors, tensors of other
/// devices, generators, or where what is written to shares memory with what is read.
std::optional<KeyedCall> key_of(const void* op, c10::DeviceIndex device,
                                c10::ArrayRef<c10::IValue> arguments,
                                c10::ArrayRef<int> writes);

/// A number that torch has made a tensor of, on the CPU.
bool is_number(const at::Tensor& tensor);

}  // namespace spike_torch
