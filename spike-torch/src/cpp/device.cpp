// What torch asks of a device: current one, streams, events.
//
// All work is done when a call returns, so streams and events have nothing to wait for.
// They are objects that can be told apart, and events know when they were recorded.

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <array>
#include <atomic>
#include <chrono>

#include "registration.h"
#include "runtime.h"

namespace spike_torch {
namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;
using c10::StreamId;

Device nkipy(DeviceIndex index) { return {c10::DeviceType::PrivateUse1, index}; }

DeviceIndex index_of(Device device) {
  return device.has_index() ? device.index() : current_device();
}

// By device, of this thread; 0 is the default one.
thread_local std::array<StreamId, kMostDevices> current_streams{};
std::atomic<StreamId> next_stream{1};

struct Event {
  DeviceIndex device;
  std::chrono::steady_clock::time_point recorded;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  Device exchangeDevice(Device device) const override {
    return nkipy(exchange_device(index_of(device)));
  }
  Device getDevice() const override { return nkipy(current_device()); }
  void setDevice(Device device) const override { exchange_device(index_of(device)); }
  void uncheckedSetDevice(Device device) const noexcept override {
    unchecked_set_device(index_of(device));
  }
  DeviceIndex deviceCount() const noexcept override { return device_count(); }

  // All that the CPU computes with, but what is quantized.
  c10::DeviceCapability getDeviceCapability(Device device) const override {
    with_index(device);
    c10::DeviceCapability found;
    auto& types = found.capability_data.supported_scalar_types;
    types.has_QInt8 = types.has_QUInt8 = types.has_QInt32 = 0;
    types.has_QUInt4x2 = types.has_QUInt2x4 = 0;
    return found;
  }

  Stream getStream(Device device) const override {
    const DeviceIndex index = index_of(device);
    return Stream(Stream::UNSAFE, nkipy(index), current_streams.at(index));
  }
  Stream getDefaultStream(Device device) const override {
    return Stream(Stream::UNSAFE, nkipy(index_of(device)), 0);
  }
  Stream getStreamFromGlobalPool(Device device, bool) const override {
    return getNewStream(device, 0);
  }
  Stream getNewStream(Device device, int) const override {
    return Stream(Stream::UNSAFE, with_index(device), next_stream++);
  }
  Stream exchangeStream(Stream stream) const override {
    const DeviceIndex index = index_of(stream.device());
    StreamId& place = current_streams.at(index);
    return Stream(Stream::UNSAFE, nkipy(index), std::exchange(place, stream.id()));
  }
  void* getStreamNativeHandle(const Stream stream) const override {
    return reinterpret_cast<void*>(static_cast<uintptr_t>(stream.id()));
  }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
  void synchronizeDevice(DeviceIndex device) const override {
    with_index(nkipy(device));
  }

  void record(void** event, const Stream& stream, DeviceIndex index,
              c10::EventFlag) const override {
    TORCH_CHECK(index == -1 || index == stream.device_index(), "Event device index ",
                static_cast<int>(index),
                " does not match recording stream's device index ",
                static_cast<int>(stream.device_index()));
    if (!*event) *event = new Event;
    *static_cast<Event*>(*event) = {stream.device_index(),
                                    std::chrono::steady_clock::now()};
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void destroyEvent(void* event, DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
  double elapsedTime(void* from, void* to, DeviceIndex) const override {
    TORCH_CHECK(from && to,
                "Both events must be recorded before the time between them is asked "
                "for");
    const std::chrono::duration<double, std::milli> elapsed =
        static_cast<Event*>(to)->recorded - static_cast<Event*>(from)->recorded;
    return elapsed.count();
  }
};

}  // namespace

void register_device() {
  static Guard guard;
  c10::impl::registerDeviceGuard(c10::DeviceType::PrivateUse1, &guard);
}

}  // namespace spike_torch
