#include "tensor.h"

#include <algorithm>

#include "tensor_set.h"

namespace spike {
namespace {

constexpr size_t kFewDependents = 8;
// How much a copy between cores takes to the host at once.
constexpr size_t kCopyBytes = 4 << 20;
const char* kRead = "Unable to read from a freed tensor";
const char* kWrite = "Unable to write to a freed tensor";

std::string describe_memory(NrtRuntime& runtime, int core) try {
  auto [used, limit] = runtime.memory_stats(core);
  return ", which uses " + std::to_string(used) + " of its " + std::to_string(limit) +
         " bytes";
} catch (const SpikeRuntimeError&) {
  return "";
}

// libnrt copies within a core's memory only.
void copy_through_host(const NrtApi& nrt, const TensorStorage& from, size_t from_offset,
                       const TensorStorage& to, size_t offset, size_t size) {
  const size_t most = std::min(size, kCopyBytes);
  std::unique_ptr<char[]> buffer(new char[most]);
  for (size_t done = 0, part; done < size; done += part) {
    part = std::min(most, size - done);
    check(nrt.nrt_tensor_read(from.tensor, buffer.get(), from_offset + done, part),
          "Failed to read tensor");
    check(nrt.nrt_tensor_write(to.tensor, buffer.get(), offset + done, part),
          "Failed to write tensor");
  }
}

/// Throws SpikeError, which names the operation and what it takes, for bytes that the
/// tensor does not have.
void check_bounds(const NrtTensor& tensor, const char* operation, const char* what,
                  size_t offset, size_t size) {
  // Never computes offset + size, which may overflow.
  if (offset <= tensor.size && size <= tensor.size - offset) return;
  throw SpikeError(std::string("The ") + operation +
                   " operation exceeds the tensor bound. Tensor size: " +
                   std::to_string(tensor.size) + " bytes; " + what +
                   " size: " + std::to_string(size) +
                   " bytes; Offset: " + std::to_string(offset) + " bytes.");
}

/// `size`, or what is left after `offset` if it is 0, with its bounds checked.
size_t to_end(const NrtTensor& tensor, const char* operation, const char* what,
              size_t offset, size_t size) {
  if (size == 0 && offset <= tensor.size) size = tensor.size - offset;
  check_bounds(tensor, operation, what, offset, size);
  return size;
}

}  // namespace

TensorStorage::~TensorStorage() {
  // Nobody can pin it any more, so no execution uses the sets that hold it.
  for (auto& set : dependents_) set->clear();
  if (Use nrt{runtime}) nrt->nrt_tensor_free(&tensor);
}

void TensorStorage::add_dependent(const std::shared_ptr<NrtTensorSet>& set) {
  std::lock_guard lock(mutex_);
  if (dependents_.size() >= kFewDependents)
    dependents_.erase(
        std::remove_if(dependents_.begin(), dependents_.end(),
                       [](const auto& dependent) { return dependent->is_cleared(); }),
        dependents_.end());
  dependents_.push_back(set);
}

NrtTensor::NrtTensor(NrtRuntime::Lease lease, const Extent& extent,
                     const std::string& name, nrt_tensor_t* tensor)
    : Share(name, lease,
            std::make_shared<TensorStorage>(lease->shared_from_this(), tensor, extent)),
      core_id(extent.core_id),
      size(extent.end - extent.begin) {}

NrtTensor NrtTensor::allocate(const NrtRuntime::Lease& runtime, size_t size,
                              int core_id, const std::string& name) {
  Use nrt(runtime, "Unable to allocate a tensor");
  nrt_tensor_t* tensor = nullptr;
  int status = nrt->nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, core_id, size,
                                        name.c_str(), &tensor);
  check(status, "Failed to allocate tensor", [&] {
    return std::to_string(size) + " bytes on " + describe_core(*nrt, core_id) +
           describe_memory(*runtime, core_id);
  });
  static std::atomic<uint64_t> allocations{0};
  return {runtime, {core_id, ++allocations, 0, size}, name, tensor};
}

NrtTensor NrtTensor::slice(size_t offset, size_t size, const std::string& name) const {
  const char* refusal =
      "Unable to allocate tensor slice from a source tensor that is freed";
  auto held = hold(refusal);
  TensorPin source = held->storage;
  size = to_end(*this, "slice", "Slice", offset, size);
  if (size == 0)
    throw SpikeError("'" + label + "' has nothing after offset " +
                     std::to_string(offset) + " to make a slice of");
  Use nrt(source->runtime, refusal);
  nrt_tensor_t* tensor = nullptr;
  int status = nrt->nrt_tensor_allocate_slice(source->tensor, offset, size,
                                              name.c_str(), &tensor);
  check(status, "Failed to allocate tensor slice");
  Extent extent = source->extent;
  extent.begin += offset;
  extent.end = extent.begin + size;
  return {held->lease, extent, name, tensor};
}

uintptr_t NrtTensor::address() const {
  TensorPin tensor = peek();
  if (!tensor) return 0;
  Use nrt(tensor->runtime);
  return nrt ? reinterpret_cast<uintptr_t>(nrt->nrt_tensor_get_va(tensor->tensor)) : 0;
}

void NrtTensor::write(const void* data, size_t size, size_t offset) {
  TensorPin tensor = pin(kWrite);
  check_bounds(*this, "write", "Input", offset, size);
  Use nrt(tensor->runtime, kWrite);
  check(nrt->nrt_tensor_write(tensor->tensor, data, offset, size),
        "Failed to write tensor");
}

size_t NrtTensor::readable(size_t offset, size_t size) const {
  return to_end(*this, "read", "Read", offset, size);
}

void NrtTensor::read(void* data, size_t size, size_t offset) const {
  TensorPin tensor = pin(kRead);
  check_bounds(*this, "read", "Read", offset, size);
  Use nrt(tensor->runtime, kRead);
  check(nrt->nrt_tensor_read(tensor->tensor, data, offset, size),
        "Failed to read tensor");
}

void NrtTensor::copy_from(const NrtTensor& source, size_t source_offset, size_t offset,
                          size_t size) {
  TensorPin from = source.pin(kRead), to = pin(kWrite);
  size = to_end(source, "copy", "Copy", source_offset, size);
  check_bounds(*this, "copy", "Copy", offset, size);
  Use nrt(from->runtime, kRead);  // open, so `to` is of the same
  if (source.core_id == core_id)
    check(nrt->nrt_tensor_copy(from->tensor, source_offset, to->tensor, offset, size),
          "Failed to copy tensor");
  else
    copy_through_host(*nrt, *from, source_offset, *to, offset, size);
}

void NrtTensor::fill(int byte, size_t offset, size_t size) {
  TensorPin tensor = pin(kWrite);
  size = to_end(*this, "fill", "Fill", offset, size);
  Use nrt(tensor->runtime, kWrite);
  check(nrt->nrt_tensor_memset(tensor->tensor, offset, byte, size),
        "Failed to fill tensor");
}

}  // namespace spike
