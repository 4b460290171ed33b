// Tensors: making, freeing, asking.
#include <chrono>

#include "api.h"
#include "session.h"
#include "trace_sink.h"

namespace emulator {
namespace {

std::string text_or_empty(const char* text) { return text ? text : ""; }

nrt_tensor_t* publish(Session& session, std::shared_ptr<Tensor> tensor) {
  return static_cast<nrt_tensor_t*>(session.tensors.insert(std::move(tensor)));
}

std::shared_ptr<Tensor> make_device_tensor(Session& session, int vnc, std::size_t size,
                                           const char* name) {
  const Core& core = session.core(vnc);
  TensorView view{session.memory().allocate_device(size, vnc, core.hbm), 0, size};
  return std::make_shared<Tensor>(text_or_empty(name), NRT_TENSOR_PLACEMENT_DEVICE, vnc,
                                  std::move(view));
}

std::shared_ptr<Tensor> make_host_tensor(Session& session,
                                         nrt_tensor_placement_t placement, int vnc,
                                         std::size_t size, const char* name) {
  if (vnc != -1) session.core(vnc);  // checked, though nothing depends on it
  TensorView view{session.memory().allocate_host(size), 0, size};
  return std::make_shared<Tensor>(text_or_empty(name), placement, -1, std::move(view));
}

std::shared_ptr<Tensor> make_tensor(Session& session, nrt_tensor_placement_t placement,
                                    int vnc, std::size_t size, const char* name) {
  switch (placement) {
    case NRT_TENSOR_PLACEMENT_DEVICE:
      return make_device_tensor(session, vnc, size, name);
    case NRT_TENSOR_PLACEMENT_HOST:
    case NRT_TENSOR_PLACEMENT_VIRTUAL:
      return make_host_tensor(session, placement, vnc, size, name);
  }
  throw StatusError(NRT_INVALID,
                    "placement " + std::to_string(placement) + " is not known");
}

std::shared_ptr<Tensor> make_slice(const Tensor& source, std::size_t offset,
                                   std::size_t size, const char* name) {
  TensorView view = source.view().part(offset, size);
  const int core = view.storage->core();
  return std::make_shared<Tensor>(text_or_empty(name), source.placement(), core,
                                  std::move(view));
}

/// When a wait of so many microseconds ends; nothing for one without end.
std::optional<Parking::Clock::time_point> deadline_after(std::int64_t timeout_us) {
  constexpr std::int64_t kLongest = std::int64_t{365} * 24 * 3600 * 1000 * 1000;
  if (timeout_us < 0 || timeout_us > kLongest) return std::nullopt;
  return Parking::Clock::now() + std::chrono::microseconds(timeout_us);
}

constexpr std::chrono::seconds kWarnAfter{30};

/// Waits until `ready`; warns when a wait without end takes long.
template <typename Ready>
bool wait_with_warning(Ready ready, std::int64_t timeout_us) {
  Parking& parking = Parking::instance();
  const auto deadline = deadline_after(timeout_us);
  if (deadline) return parking.wait(ready, *deadline);
  if (parking.wait(ready, Parking::Clock::now() + kWarnAfter)) return true;
  EMULATOR_LOG(nrt, warning, "nrt_tensor_check_output_completion",
               "has waited for %lld s", static_cast<long long>(kWarnAfter.count()));
  return parking.wait(ready);
}

NRT_STATUS wait_for_completion(const Session& session, const Tensor& tensor,
                               std::int64_t timeout_us, std::uint64_t expected) {
  const CompletionCounter& counter = tensor.completions();
  const auto ready = [&] { return counter.count() >= expected || session.closing(); };
  if (!wait_with_warning(ready, timeout_us)) return NRT_TIMEOUT;
  return counter.count() >= expected ? NRT_SUCCESS : NRT_CLOSED;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t placement, int vnc,
                                       size_t size, const char* name,
                                       nrt_tensor_t** tensor) {
  return api_call("nrt_tensor_allocate", [&](Session& session) {
    require(tensor, "the result's address is NULL");
    require(size > 0, "a tensor of 0 bytes cannot be allocated");
    const trace::Scope scope(trace::EventType::tensor_allocate, vnc, size);
    *tensor = publish(session, make_tensor(session, placement, vnc, size, name));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_allocate_empty(const char* name, nrt_tensor_t** tensor) {
  return api_call("nrt_tensor_allocate_empty", [&](Session& session) {
    require(tensor, "the result's address is NULL");
    *tensor = publish(session, std::make_shared<Tensor>(text_or_empty(name),
                                                        NRT_TENSOR_PLACEMENT_VIRTUAL,
                                                        -1, TensorView{}));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t* source, size_t offset,
                                             size_t size, const char* name,
                                             nrt_tensor_t** slice) {
  return api_call("nrt_tensor_allocate_slice", [&](Session& session) {
    require(slice, "the result's address is NULL");
    require(size > 0, "a slice of 0 bytes cannot be allocated");
    const auto whole = session.tensors.get(source);
    *slice = publish(session, make_slice(*whole, offset, size, name));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t* tensor, void* buffer,
                                            size_t size) {
  return api_call("nrt_tensor_attach_buffer", [&](Session& session) {
    require(buffer && size > 0, "there is no buffer");
    session.tensors.get(tensor)->attach(static_cast<std::byte*>(buffer), size);
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_tensor_free(nrt_tensor_t** tensor) {
  if (!tensor || !*tensor) return;
  api_call_void("nrt_tensor_free", [&](Session& session) {
    auto taken = session.tensors.take(*tensor);
    if (!taken) {
      EMULATOR_LOG(nrt, error, "nrt_tensor_free", "the handle names no tensor");
      return;
    }
    const trace::Scope scope(trace::EventType::tensor_free, taken->core());
    taken.reset();
  });
  *tensor = nullptr;
}

NRT_API size_t nrt_tensor_get_size(const nrt_tensor_t* tensor) {
  std::size_t size = 0;
  api_call_void("nrt_tensor_get_size", [&](Session& session) {
    size = session.tensors.get(tensor)->view().size;
  });
  return size;
}

NRT_API void* nrt_tensor_get_va(const nrt_tensor_t* tensor) {
  void* address = nullptr;
  api_call_void("nrt_tensor_get_va", [&](Session& session) {
    address = session.tensors.get(tensor)->view().data();
  });
  return address;
}

NRT_API NRT_STATUS nrt_tensor_get_device_allocation_info(
    const nrt_tensor_t* tensor, nrt_tensor_device_allocation_info_t* info) {
  return api_call("nrt_tensor_get_device_allocation_info", [&](Session& session) {
    require(info, "the result's address is NULL");
    const TensorView view = session.tensors.get(tensor)->view();
    require(view.storage && view.storage->on_device(), "the tensor is on no device");
    const Core& core = session.core(view.storage->core());
    // There is no physical memory of a device: the address here is as unique.
    *info = {reinterpret_cast<std::uintptr_t>(view.data()), view.size,
             static_cast<int>(core.hbm_index)};
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_get_lnc_index(const nrt_tensor_t* tensor, int* lnc) {
  return api_call("nrt_tensor_get_lnc_index", [&](Session& session) {
    require(lnc, "the result's address is NULL");
    *lnc = session.tensors.get(tensor)->core();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t* tensor,
                                                      int64_t timeout_us,
                                                      uint64_t expected) {
  return api_call("nrt_tensor_check_output_completion", [&](Session& session) {
    const auto object = session.tensors.get(tensor);
    return wait_for_completion(session, *object, timeout_us, expected);
  });
}

NRT_API NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t* tensor) {
  return api_call("nrt_tensor_reset_output_completion", [&](Session& session) {
    session.tensors.get(tensor)->completions().reset();
    return NRT_SUCCESS;
  });
}
