#include "host_tensors.h"

#include <ATen/EmptyTensor.h>
#include <ATen/NestedTensorImpl.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstring>

#include "registration.h"
#include "runtime.h"
#include "tensors.h"

namespace spike_torch {
namespace {

constexpr c10::DispatchKeySet kHostKeys(c10::DispatchKey::CPU);
const c10::Device kHost(c10::DeviceType::CPU);
thread_local ResultsOn* results_on = nullptr;

c10::DeleterFnPtr free_own = nullptr;

void free_either(void* address) {
  if (!free_host_result(address)) free_own(address);
}

/// The CPU's allocator, but for results of a core's operations.
class HostAllocator final : public c10::Allocator {
 public:
  explicit HostAllocator(c10::Allocator* own) : own_(own) {
    free_own = own->raw_deleter();
  }
  c10::DataPtr allocate(size_t size) override {
    if (!results_on || size == 0) return own_->allocate(size);
    return results_on->allocate(size);
  }
  // What it allocated for a core may be freed at any time, and by any thread.
  c10::DeleterFnPtr raw_deleter() const override { return free_either; }
  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

 private:
  c10::Allocator* const own_;
};

void release_storage(void* context) {
  c10::raw::intrusive_ptr::decref(static_cast<c10::StorageImpl*>(context));
}

// The memory of a storage, which is kept for as long.
c10::DataPtr shared(const c10::Storage& storage) {
  auto* held = storage.unsafeGetStorageImpl();
  c10::raw::intrusive_ptr::incref(held);
  return {const_cast<void*>(storage.data()), held, release_storage, kHost};
}

c10::Storage host_storage(c10::DataPtr data, size_t size) {
  return c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), static_cast<int64_t>(size), std::move(data),
      c10::GetCPUAllocator(), true);
}

// A nested tensor of the same sizes, on what becomes of its one buffer.
template <class Do>
at::Tensor on_buffer(const at::Tensor& nested, Do made) {
  const auto& impl = *at::native::get_nested_tensor_impl(nested);
  return at::detail::make_tensor<at::native::NestedTensorImpl>(
      made(impl.get_unsafe_storage_as_tensor()), impl.get_nested_sizes(),
      impl.get_nested_strides(), impl.get_storage_offsets());
}

void read(const c10::Storage& from, void* to) {
  const Memory memory = memory_of(from.data_ptr());
  if (memory.tensor)
    check(spike().tensor_read(memory.tensor, memory.offset, to, from.nbytes()),
          "read a tensor");
}

// From the byte `begin` on, of both.
void write(const c10::DataPtr& to, const void* from, size_t size, size_t begin = 0) {
  const Memory memory = memory_of(to);
  if (memory.tensor && size != 0)
    check(spike().tensor_write(memory.tensor, memory.offset + begin,
                               static_cast<const char*>(from) + begin, size),
          "write a tensor");
}

// Where an operation may have written that had the first, and left the second.
std::pair<size_t, size_t> written_range(const at::Tensor& before,
                                        const at::Tensor& after) {
  if (after.is_nested()) return {0, after.storage().nbytes()};
  const auto one = range_of(before), other = range_of(after);
  if (one.second == 0) return other;
  if (other.second == 0) return one;
  const size_t begin = std::min(one.first, other.first);
  return {begin, std::max(one.first + one.second, other.first + other.second) - begin};
}

}  // namespace

ResultsOn::ResultsOn(HostTensors& tensors)
    : before_(std::exchange(results_on, memory_is_host() ? this : nullptr)),
      tensors_(tensors) {}
ResultsOn::~ResultsOn() { results_on = before_; }

c10::DataPtr ResultsOn::allocate(size_t size) {
  Memory memory;
  c10::DataPtr made = allocate_host_result(size, tensors_.device(), &memory);
  tensors_.keep_open(memory);  // what takes no tensor, such as arange, has no other
  return made;
}

void register_host_results() {
  c10::SetCPUAllocator(new HostAllocator(c10::GetCPUAllocator()));
}

HostTensors::Pair& HostTensors::pair_of(const c10::Storage& storage) {
  for (Pair& pair : pairs_) {
    if (pair.device.unsafeGetStorageImpl() == storage.unsafeGetStorageImpl())
      return pair;
  }
  const Memory memory = memory_of(storage.data_ptr());
  const size_t size = storage.nbytes();
  c10::DataPtr data(nullptr, kHost);
  if (memory.tensor && !memory_is_host()) {
    data = c10::GetCPUAllocator()->allocate(size);
    read(storage, data.get());
  } else if (memory.tensor) {
    if (access_) {
      require_alive(memory);
    } else {
      access_.emplace(memory);
    }
    data = shared(storage);
  }
  void* address = data.get();
  return pairs_.emplace_back(
      Pair{storage, host_storage(std::move(data), size), address, size});
}

HostTensors::Pair* HostTensors::pair_with_host(const c10::Storage& host) {
  for (Pair& pair : pairs_) {
    if (pair.host.unsafeGetStorageImpl() == host.unsafeGetStorageImpl()) return &pair;
  }
  return nullptr;
}

at::Tensor HostTensors::host(const at::Tensor& tensor) {
  for (const Known& known : known_) {
    if (known.device.is_same(tensor)) return known.host;
  }
  at::Tensor made = new_host(tensor);
  known_.emplace_back(Known{tensor, made});
  return made;
}

at::Tensor HostTensors::new_host(const at::Tensor& tensor) {
  if (tensor.is_nested()) {
    key_ = c10::DispatchKey::NestedTensorCPU;
    return on_buffer(tensor, [&](const at::Tensor& buffer) { return host(buffer); });
  }
  require_storage(tensor);
  auto made = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(pair_of(tensor.storage()).host), kHostKeys, tensor.dtype());
  auto* impl = made.unsafeGetTensorImpl();
  impl->set_storage_offset(tensor.storage_offset());
  impl->set_sizes_and_strides(tensor.sizes(), tensor.strides());
  if (tensor.is_conj()) impl->_set_conj(true);
  if (tensor.is_neg()) impl->_set_neg(true);
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return made;
}

void HostTensors::update(const at::Tensor& tensor, const at::Tensor& host) {
  Pair* pair = pair_with_host(host.storage());
  if (!pair) {
    // It was set to another storage.
    const at::Tensor made = device_tensor(host);
    tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
  } else if (pair->host.data() != pair->data || pair->host.nbytes() != pair->size) {
    // It was resized, and so has new memory.
    resize_storage(*pair->device.unsafeGetStorageImpl(), pair->host.nbytes());
    write(pair->device.data_ptr(), pair->host.data(), pair->host.nbytes());
    pair->data = const_cast<void*>(pair->host.data());
    pair->size = pair->host.nbytes();
  } else if (!memory_is_host()) {
    // What is beside it in the storage, another thread may have written to meanwhile.
    const auto [begin, size] = written_range(tensor, host);
    write(pair->device.data_ptr(), pair->host.data(), size, begin);
  }
  if (tensor.is_nested()) return;  // no operation changes the sizes of one
  auto* impl = tensor.unsafeGetTensorImpl();
  if (tensor.is_conj() != host.is_conj()) impl->_set_conj(host.is_conj());
  if (tensor.is_neg() != host.is_neg()) impl->_set_neg(host.is_neg());
  if (tensor.storage_offset() != host.storage_offset())
    impl->set_storage_offset(host.storage_offset());
  if (tensor.sizes() != host.sizes() || tensor.strides() != host.strides())
    impl->set_sizes_and_strides(host.sizes(), host.strides());
}

void HostTensors::part() {
  known_.clear();
  for (const Pair& pair : pairs_) {
    auto* host = pair.host.unsafeGetStorageImpl();
    // One that is not resizable has given its address away, as to an array of NumPy's.
    if (pair.host.use_count() == 1 || !host->resizable() ||
        pair.host.data_ptr().get_deleter() != release_storage)
      continue;
    c10::DataPtr data = c10::GetCPUAllocator()->allocate(pair.size);
    std::memcpy(data.get(), pair.host.data(), pair.size);
    host->set_data_ptr_noswap(std::move(data));
  }
}

at::Tensor HostTensors::device_tensor(const at::Tensor& host) {
  if (host.is_nested())
    return on_buffer(host,
                     [&](const at::Tensor& buffer) { return device_tensor(buffer); });
  TORCH_CHECK_NOT_IMPLEMENTED(!host.is_quantized(),
                              "nkipy: quantized tensors are not supported");
  const c10::Storage& storage = host.storage();
  if (Pair* pair = pair_with_host(storage)) {
    for (const Known& known : known_) {
      if (!known.device.is_nested() && known.device.storage().unsafeGetStorageImpl() ==
                                           pair->device.unsafeGetStorageImpl())
        return view_of(known.device, host);
    }
    return on_storage(pair->device, host);
  }
  const size_t size = storage.nbytes();
  c10::StorageImpl& own = *storage.unsafeGetStorageImpl();
  c10::Storage made;
  if (is_host_result(storage.data_ptr()) && storage.use_count() == 1 &&
      host.use_count() == 1) {
    made = storage_of(to_device(own.set_data_ptr({nullptr, kHost})), size);
    own.set_nbytes(0);
  } else {
    made = storage_of(allocate(size, device_), size);
    write(made.data_ptr(), storage.data(), size);
    // Another result may be a view of this one.
    pairs_.emplace_back(Pair{made, storage, const_cast<void*>(storage.data()), size});
  }
  return on_storage(std::move(made), host);
}

}  // namespace spike_torch
