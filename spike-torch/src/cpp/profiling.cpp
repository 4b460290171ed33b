// What torch's profilers ask of a device: times. Work is done when a call returns, so
// they are the host's.

#include <c10/util/Exception.h>
#include <torch/csrc/profiler/stubs/base.h>

#include <chrono>

#include "registration.h"
#include "runtime.h"

namespace spike_torch {
namespace {

using torch::profiler::impl::ProfilerVoidEventStub;
using Nanoseconds = std::chrono::nanoseconds;

struct Times final : torch::profiler::impl::ProfilerStubs {
  void record(c10::DeviceIndex* device, ProfilerVoidEventStub* event,
              int64_t* cpu_ns) const override {
    const Nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
    if (device) *device = current_device();
    if (cpu_ns) *cpu_ns = now.count();
    *event = std::make_shared<Nanoseconds>(now);
  }
  float elapsed(const ProfilerVoidEventStub* from,
                const ProfilerVoidEventStub* to) const override {
    const auto time = [](const ProfilerVoidEventStub& event) {
      return *static_cast<const Nanoseconds*>(event.get());
    };
    return std::chrono::duration<float, std::micro>(time(*to) - time(*from)).count();
  }
  void mark(const char*) const override {}
  void rangePush(const char*) const override {}
  void rangePop() const override {}
  bool enabled() const override { return true; }
  void onEachDevice(std::function<void(int)> act) const override {
    for (int device = 0; device < device_count(); ++device) act(device);
  }
  void synchronize() const override {}
};

}  // namespace

void register_profiling() {
  static Times times;
  torch::profiler::impl::registerPrivateUse1Methods(&times);
}

}  // namespace spike_torch
