// Tensors on a core: making them, their geometry and their storages.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Storage.h>

#include <string>
#include <string_view>
#include <utility>

namespace spike_torch {

/// A tensor on some storage of a core, with the geometry, dtype and flags of another.
at::Tensor on_storage(c10::Storage storage, const at::Tensor& like);
/// The same as a view of a tensor on that storage: of an inference tensor it is one.
at::Tensor view_of(const at::Tensor& base, const at::Tensor& like);
/// A storage with this memory.
c10::Storage storage_of(c10::DataPtr data, size_t size);

/// Kinds of tensors that no core has.
enum class Kind { kSparse, kQuantized, kNested, kOpaque };
/// Raises NotImplementedError: an operator is given or returns such a tensor.
[[noreturn]] void refuse_kind(Kind kind, const std::string& op);

/// Raises torch's error unless a tensor of an operator's is on the device, or
/// undefined.
void require_device(const at::Tensor& tensor, c10::Device device, std::string_view op);
/// The same error.
[[noreturn]] void raise_two_devices(c10::Device one, c10::Device other,
                                    std::string_view op);

/// Raises unless a storage holds all elements of a tensor: others than its tensors can
/// make a storage smaller.
void require_storage(const at::Tensor& tensor);

/// The bytes of its storage that a tensor's elements lie in, with what is between them:
/// where they begin, and how many they are.
std::pair<size_t, size_t> range_of(const at::Tensor& tensor);

/// Makes a storage so large: what is in it stays, and who views it sees the new memory.
void resize_storage(c10::StorageImpl& storage, size_t size);

}  // namespace spike_torch
