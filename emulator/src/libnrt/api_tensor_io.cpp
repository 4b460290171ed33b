// Moving bytes between the caller and tensors, and between tensors.
#include <cstring>
#include <vector>

#include "api.h"
#include "copy.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator {
namespace {

enum class Direction { read, write };

/// Waits until pending executions let the storage be read, or written.
void wait_until_free(const Session& session, Storage& storage, Direction direction) {
  UseTracker& uses = storage.uses();
  const auto ready = [&] {
    const bool is_free =
        direction == Direction::read ? uses.readable() : uses.writable();
    return is_free || session.closing();
  };
  Parking::instance().wait(ready);
  if (session.closing())
    throw StatusError(NRT_CLOSED, "nrt_close was called meanwhile");
}

/// A checked piece of a tensor and the caller's memory for it.
struct Transfer {
  TensorView view;
  void* buffer;
};

Transfer check_transfer(const Tensor& tensor, void* buffer, std::uint64_t offset,
                        std::uint64_t size) {
  TensorView view = tensor.view().part(offset, size);
  require(buffer || size == 0, "the buffer is NULL");
  return {std::move(view), buffer};
}

void move_bytes(const Transfer& transfer, Direction direction) {
  if (transfer.view.size == 0) return;
  void* const data = transfer.view.data();
  const bool reads = direction == Direction::read;
  // May overlap: the caller's buffer may be the tensor's own memory, from get_va.
  copy_bytes(reads ? transfer.buffer : data, reads ? data : transfer.buffer,
             transfer.view.size);
}

void transfer_one(Session& session, const void* handle, void* buffer,
                  std::uint64_t offset, std::uint64_t size, Direction direction) {
  const auto tensor = session.tensors.get(handle);
  const Transfer transfer = check_transfer(*tensor, buffer, offset, size);
  const auto event = direction == Direction::read ? trace::EventType::tensor_read
                                                  : trace::EventType::tensor_write;
  const trace::Scope scope(event, tensor->core(), size);
  wait_until_free(session, *transfer.view.storage, direction);
  move_bytes(transfer, direction);
}

/// All of a batch, checked before the first byte moves.
std::vector<Transfer> check_batches(Session& session, const nrt_tensor_batch_t* batches,
                                    std::uint64_t count) {
  require(batches || count == 0, "the batches' address is NULL");
  std::vector<Transfer> transfers;
  for (std::uint64_t index = 0; index < count; ++index) {
    const nrt_tensor_batch_t& batch = batches[index];
    const auto tensor = session.tensors.get(batch.tensor);
    require(batch.ops || batch.num_ops == 0, "a batch's operations are NULL");
    for (std::uint32_t op = 0; op < batch.num_ops; ++op) {
      const nrt_tensor_batch_op_t& piece = batch.ops[op];
      transfers.push_back(
          check_transfer(*tensor, piece.buffer, piece.offset, piece.size));
    }
  }
  return transfers;
}

NRT_STATUS transfer_batches(const char* function, const nrt_tensor_batch_t* batches,
                            std::uint64_t count, bool unsafe, Direction direction) {
  return api_call(function, [&](Session& session) {
    const auto transfers = check_batches(session, batches, count);
    for (const Transfer& transfer : transfers) {
      if (!unsafe) wait_until_free(session, *transfer.view.storage, direction);
      move_bytes(transfer, direction);
    }
    return NRT_SUCCESS;
  });
}

/// Between two cores there is no copy: each has its own memory.
void check_same_memory(const Storage& source, const Storage& destination) {
  const bool differs = source.on_device() && destination.on_device() &&
                       source.core() != destination.core();
  if (!differs) return;
  throw StatusError(NRT_INVALID, "cannot copy from nc" + std::to_string(source.core()) +
                                     " to nc" + std::to_string(destination.core()) +
                                     ": both tensors must be on one core");
}

void copy(Session& session, const TensorView& source, const TensorView& destination) {
  check_same_memory(*source.storage, *destination.storage);
  wait_until_free(session, *source.storage, Direction::read);
  wait_until_free(session, *destination.storage, Direction::write);
  copy_bytes(destination.data(), source.data(), source.size);
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_tensor_read(const nrt_tensor_t* tensor, void* buffer,
                                   size_t offset, size_t size) {
  return api_call("nrt_tensor_read", [&](Session& session) {
    transfer_one(session, tensor, buffer, offset, size, Direction::read);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_write(nrt_tensor_t* tensor, const void* buffer,
                                    size_t offset, size_t size) {
  return api_call("nrt_tensor_write", [&](Session& session) {
    transfer_one(session, tensor, const_cast<void*>(buffer), offset, size,
                 Direction::write);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t* batches,
                                         uint64_t count, bool unsafe) {
  return transfer_batches("nrt_tensor_read_batch", batches, count, unsafe,
                          Direction::read);
}

NRT_API NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t* batches,
                                          uint64_t count, bool unsafe) {
  return transfer_batches("nrt_tensor_write_batch", batches, count, unsafe,
                          Direction::write);
}

NRT_API NRT_STATUS nrt_tensor_copy(const nrt_tensor_t* source, size_t source_offset,
                                   nrt_tensor_t* destination, size_t destination_offset,
                                   size_t size) {
  return api_call("nrt_tensor_copy", [&](Session& session) {
    const auto from = session.tensors.get(source);
    const auto to = session.tensors.get(destination);
    const TensorView source_part = from->view().part(source_offset, size);
    const TensorView destination_part = to->view().part(destination_offset, size);
    const trace::Scope scope(trace::EventType::tensor_copy, to->core(), size);
    copy(session, source_part, destination_part);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_memset(nrt_tensor_t* tensor, uint64_t offset, int value,
                                     size_t size) {
  return api_call("nrt_tensor_memset", [&](Session& session) {
    const auto object = session.tensors.get(tensor);
    const TensorView part = object->view().part(offset, size);
    const trace::Scope scope(trace::EventType::tensor_memset, object->core(), size);
    wait_until_free(session, *part.storage, Direction::write);
    std::memset(part.data(), value, part.size);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_memcpy_to_device(void* destination, const void* source,
                                        size_t size) {
  return api_call("nrt_memcpy_to_device", [&](Session& session) {
    require(source || size == 0, "the source is NULL");
    const auto storage = session.memory().find_device(destination, size);
    require(storage != nullptr, "the destination is not in a tensor of a device");
    wait_until_free(session, *storage, Direction::write);
    if (size > 0) copy_bytes(destination, source, size);
    return NRT_SUCCESS;
  });
}
