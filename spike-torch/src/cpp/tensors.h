// Tensors on a core: making them, their geometry and their storages.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Storage.h>

namespace spike_torch {

/// A tensor on some storage of a core, with the geometry, dtype and flags of another.
at::Tensor on_storage(c10::Storage storage, const at::Tensor& like);
/// A storage with this memory.
c10::Storage storage_of(c10::DataPtr data, size_t size);

/// Makes a storage so large: what is in it stays, and who views it sees the new memory.
void resize_storage(c10::StorageImpl& storage, size_t size);

}  // namespace spike_torch
