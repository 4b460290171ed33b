#include "tensors.h"

#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/ResizeCommon.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/_to_copy_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/copy_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like_native.h>
#include <ATen/ops/empty_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/TensorImpl.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "memory.h"
#include "runtime.h"

namespace spike_torch {
namespace {

using at::IntArrayRef;
using at::Tensor;
using c10::MemoryFormat;
template <class T>
using Maybe = std::optional<T>;

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

void require_dense(Maybe<at::Layout> layout, Maybe<bool> pin_memory) {
  TORCH_CHECK_NOT_IMPLEMENTED(!layout || *layout == at::Layout::Strided,
                              "nkipy: tensors of layout ", *layout,
                              " are not supported, only strided ones");
  TORCH_CHECK(!pin_memory || !*pin_memory,
              "Only dense CPU tensors can be pinned: got pin_memory=True for nkipy");
}

/// Allocates on the device that was asked for, whichever is current.
class On {
 public:
  explicit On(Maybe<at::Device> device)
      : before_(exchange_device(
            with_index(device.value_or(at::Device(c10::DeviceType::PrivateUse1)))
                .index())) {}
  ~On() { unchecked_set_device(before_); }
  On(const On&) = delete;

 private:
  const c10::DeviceIndex before_;
};

bool fills_what_nobody_fills() {
  const at::Context& context = at::globalContext();
  return context.deterministicAlgorithms() &&
         context.deterministicFillUninitializedMemory();
}

// With what torch.utils.deterministic.fill_uninitialized_memory says, if it says so.
Tensor filled(Tensor made) {
  if (fills_what_nobody_fills()) at::native::fill_empty_deterministic_(made);
  return made;
}

Tensor empty_memory_format(IntArrayRef size, Maybe<at::ScalarType> dtype,
                           Maybe<at::Layout> layout, Maybe<at::Device> device,
                           Maybe<bool> pin_memory, Maybe<MemoryFormat> format) {
  require_dense(layout, pin_memory);
  const On on(device);
  return filled(at::detail::empty_generic(size, &allocator(), kKeys,
                                          c10::dtype_or_default(dtype), format));
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, Maybe<at::ScalarType> dtype,
                     Maybe<at::Layout> layout, Maybe<at::Device> device,
                     Maybe<bool> pin_memory) {
  require_dense(layout, pin_memory);
  const On on(device);
  return filled(at::detail::empty_strided_generic(size, stride, &allocator(), kKeys,
                                                  c10::dtype_or_default(dtype)));
}

// torch's own has no storage, which what comes to the CPU must have.
Tensor efficient_zero_tensor(IntArrayRef size, Maybe<at::ScalarType> dtype,
                             Maybe<at::Layout> layout, Maybe<at::Device> device,
                             Maybe<bool> pin_memory) {
  return at::zeros(size, dtype, layout, device, pin_memory);
}

// ---- Sizes --------------------------------------------------------------------------

// What a tensor needs of its storage; without strides, one of one piece.
size_t bytes_of(IntArrayRef size, IntArrayRef stride, size_t item_size,
                int64_t offset) {
  const auto begin = static_cast<size_t>(offset);
  return stride.empty()
             ? at::detail::computeStorageNbytesContiguous(size, item_size, begin)
             : at::detail::computeStorageNbytes(size, stride, item_size, begin);
}

// Makes a storage large enough for a tensor of a size; without strides, of one piece.
// It comes first: if it fails, the tensor stays as it is.
void grow_storage(const c10::Storage& storage, IntArrayRef size, IntArrayRef stride,
                  size_t item_size, int64_t offset) {
  if (std::find(size.begin(), size.end(), 0) != size.end()) return;
  const size_t bytes = bytes_of(size, stride, item_size, offset);
  if (bytes > storage.nbytes()) resize_storage(*storage.unsafeGetStorageImpl(), bytes);
}

// A tensor that has the size already keeps its strides.
const Tensor& resize_(const Tensor& self, IntArrayRef size,
                      Maybe<MemoryFormat> format) {
  at::detail::check_size_nonnegative(size);
  TORCH_CHECK(format != MemoryFormat::Preserve, "Unsupported memory format", *format);
  const auto before = static_cast<int64_t>(self.storage().nbytes());
  if (self.sizes() != size) {
    grow_storage(self.storage(), size, {}, self.itemsize(), self.storage_offset());
    self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  }
  if (fills_what_nobody_fills()) at::native::fill_resize_deterministic_(self, before);
  if (!format) return self;
  self.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  return self;
}

Tensor& set_storage(Tensor& self, at::Storage source, int64_t offset, IntArrayRef size,
                    IntArrayRef stride) {
  TORCH_CHECK(self.device() == source.device(),
              "Attempted to set the storage of a tensor on device \"", self.device(),
              "\" to a storage on different device \"", source.device(),
              "\".  This is no longer allowed; the devices must match.");
  TORCH_CHECK(offset >= 0, "Tensor: invalid storage offset ", offset);
  TORCH_CHECK(stride.empty() || stride.size() == size.size(), "unequal size length (",
              size.size(), ") and stride length (", stride.size(), ")");
  at::detail::check_size_nonnegative(size);
  grow_storage(source, size, stride, self.itemsize(), offset);
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_storage_offset(offset);
  if (stride.empty()) {
    impl->set_sizes_contiguous(size);
  } else {
    impl->set_sizes_and_strides(size, stride);
  }
  return self;
}

Tensor& set_whole_storage(Tensor& self, at::Storage source) {
  const auto count = static_cast<int64_t>(source.nbytes() / self.itemsize());
  return set_storage(self, std::move(source), 0, {count}, {});
}

Tensor& set_tensor(Tensor& self, const Tensor& source) {
  if (self.unsafeGetTensorImpl() == source.unsafeGetTensorImpl()) return self;
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(),
                     source.strides());
}

Tensor& set_nothing(Tensor& self) {
  const at::Device device = self.device();
  auto data = c10::DataPtr(nullptr, device);
  return set_storage(self, storage_of(std::move(data), 0), 0, {0}, {});
}

// Between the CPU and a core, as between it and others: a parameter that is moved stays
// the object that it is.
bool has_compatible_shallow_copy_type(const Tensor& self, const Tensor& from) {
  const auto is_dense = [](const Tensor& tensor) {
    return tensor.layout() == at::kStrided &&
           (tensor.device().is_cpu() || tensor.device().is_privateuseone());
  };
  if (is_dense(self) && is_dense(from)) return true;
  return self.unsafeGetTensorImpl()->has_compatible_shallow_copy_type(from.key_set());
}

void record_stream(Tensor&, c10::Stream) {}

}  // namespace

namespace {

Tensor with_geometry(Tensor made, const Tensor& like) {
  auto* impl = made.unsafeGetTensorImpl();
  impl->set_storage_offset(like.storage_offset());
  impl->set_sizes_and_strides(like.sizes(), like.strides());
  if (like.is_conj()) impl->_set_conj(true);
  if (like.is_neg()) impl->_set_neg(true);
  return made;
}

}  // namespace

at::Tensor on_storage(c10::Storage storage, const at::Tensor& like) {
  return with_geometry(
      at::detail::make_tensor<c10::TensorImpl>(std::move(storage), kKeys, like.dtype()),
      like);
}

at::Tensor view_of(const at::Tensor& base, const at::Tensor& like) {
  const auto keys = base.key_set()
                        .remove(c10::DispatchKey::Conjugate)
                        .remove(c10::DispatchKey::Negative);
  return with_geometry(
      at::detail::make_tensor<c10::TensorImpl>(
          c10::TensorImpl::VIEW, c10::Storage(base.storage()), keys, like.dtype()),
      like);
}

c10::Storage storage_of(c10::DataPtr data, size_t size) {
  return c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(),
                                               static_cast<int64_t>(size),
                                               std::move(data), &allocator(), true);
}

void refuse_kind(Kind kind, const std::string& op) {
  const char* names[] = {"sparse", "quantized", "nested", "opaque"};
  TORCH_CHECK_NOT_IMPLEMENTED(false, "nkipy: '", op, "' is of ",
                              names[static_cast<int>(kind)],
                              " tensors, and a core has dense ones only: do this on "
                              "the CPU, with .cpu(), and move what is dense");
}

void require_device(const at::Tensor& tensor, c10::Device device, std::string_view op) {
  if (tensor.defined() && tensor.device() != device)
    raise_two_devices(device, tensor.device(), op);
}

void raise_two_devices(c10::Device one, c10::Device other, std::string_view op) {
  TORCH_CHECK(false,
              "Expected all tensors to be on the same device, but found at least two "
              "devices, ",
              one, " and ", other, "! (when checking arguments of ", op, ")");
}

void require_storage(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return;
  const size_t needed = bytes_of(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                                 tensor.storage_offset());
  TORCH_CHECK(needed <= tensor.storage().nbytes(), "nkipy: a tensor of shape ",
              tensor.sizes(), " and strides ", tensor.strides(), " at offset ",
              tensor.storage_offset(), " needs a storage of ", needed,
              " bytes, and its storage was resized to ", tensor.storage().nbytes());
}

std::pair<size_t, size_t> range_of(const at::Tensor& tensor) {
  const size_t begin = static_cast<size_t>(tensor.storage_offset()) * tensor.itemsize();
  if (tensor.numel() == 0) return {begin, 0};
  const size_t end = bytes_of(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                              tensor.storage_offset());
  return {begin, end - begin};
}

void resize_storage(c10::StorageImpl& storage, size_t size) {
  TORCH_CHECK(storage.resizable(), "Trying to resize storage that is not resizable");
  TORCH_CHECK(size <= static_cast<size_t>(std::numeric_limits<int64_t>::max()),
              "nkipy: a storage has no ", static_cast<int64_t>(size), " bytes");
  c10::DataPtr data = allocate(size, storage.device().index());
  const size_t kept = std::min(size, storage.nbytes());
  if (kept != 0) {
    const Memory from = memory_of(storage.data_ptr()), to = memory_of(data);
    check(spike().tensor_copy(from.tensor, from.offset, to.tensor, to.offset, kept),
          "move a storage that is resized");
  }
  storage.set_data_ptr_noswap(std::move(data));
  storage.set_nbytes(size);
}

// Of nested tensors what may have a result on another device; all else falls back.
TORCH_LIBRARY_IMPL(aten, NestedTensorPrivateUse1, m) {
  m.impl("_to_copy", at::native::_to_copy_nested);
  m.impl("copy_", at::native::copy_nested_);
  m.impl("empty_like", at::native::empty_like_nested);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty_memory_format);
  m.impl("empty_strided", empty_strided);
  m.impl("_efficientzerotensor", efficient_zero_tensor);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("resize_", resize_);
  m.impl("set_.source_Storage", set_whole_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("set_", set_nothing);
  m.impl("_has_compatible_shallow_copy_type", has_compatible_shallow_copy_type);
  m.impl("record_stream", record_stream);
}

}  // namespace spike_torch
