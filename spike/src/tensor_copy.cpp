// What a device does with its memory by itself: copies and fills.

#include <algorithm>

#include "tensor.h"

namespace spike {
namespace {

// How much a copy between cores takes to the host at once.
constexpr size_t kCopyBytes = 4 << 20;
const char* kSource = "Unable to read from a freed tensor";
const char* kTarget = "Unable to write to a freed tensor";

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

}  // namespace

void NrtTensor::copy_from(const NrtTensor& source, size_t source_offset, size_t offset,
                          size_t size) {
  TensorPin from = source.pin(kSource), to = pin(kTarget);
  size = to_end(source, source_offset, size);
  check_bounds(source, "copy", "Copy", source_offset, size);
  check_bounds(*this, "copy", "Copy", offset, size);
  Use nrt(from->runtime, kSource);  // open, so `to` is of the same
  if (source.core_id == core_id)
    check(nrt->nrt_tensor_copy(from->tensor, source_offset, to->tensor, offset, size),
          "Failed to copy tensor");
  else
    copy_through_host(*nrt, *from, source_offset, *to, offset, size);
}

void NrtTensor::fill(int byte, size_t offset, size_t size) {
  TensorPin tensor = pin(kTarget);
  size = to_end(*this, offset, size);
  check_bounds(*this, "fill", "Fill", offset, size);
  Use nrt(tensor->runtime, kTarget);
  check(nrt->nrt_tensor_memset(tensor->tensor, offset, byte, size),
        "Failed to fill tensor");
}

}  // namespace spike
