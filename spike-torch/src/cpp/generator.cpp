// Random numbers: each core has generators, whose numbers are those of the CPU's.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <c10/util/CallOnce.h>
#include <torch/library.h>

#include <array>
#include <mutex>

#include "registration.h"
#include "runtime.h"

namespace spike_torch {
namespace {

// One of a core: has a generator of the CPU's, which draws, and whose lock the CPU's
// kernels hold while they do.
class Generator final : public c10::GeneratorImpl {
 public:
  Generator(c10::DeviceIndex device, at::Generator host)
      : c10::GeneratorImpl({c10::DeviceType::PrivateUse1, device},
                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        host(std::move(host)) {}

  void set_current_seed(uint64_t seed) override {
    std::lock_guard lock(mutex());
    host.set_current_seed(seed);
  }
  // Its state says all: the CPU's has no offset. torch pickles that of a device's.
  void set_offset(uint64_t offset) override {
    TORCH_CHECK(offset == 0, "nkipy's generators have no offset: got ", offset);
  }
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override {
    std::lock_guard lock(mutex());
    return host.current_seed();
  }
  uint64_t seed() override {
    std::lock_guard lock(mutex());
    return own().seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    std::lock_guard lock(mutex());
    own().set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    std::lock_guard lock(mutex());
    return own().get_state();
  }

  at::Generator host;

 private:
  c10::GeneratorImpl& own() const { return *host.unsafeGetGeneratorImpl(); }
  std::mutex& mutex() const { return own().mutex_; }
  Generator* clone_impl() const override {
    std::lock_guard lock(mutex());
    return new Generator(device().index(), host.clone());
  }
};

}  // namespace

at::Generator new_generator(c10::DeviceIndex device) {
  const auto index = with_index({c10::DeviceType::PrivateUse1, device}).index();
  return at::make_generator<Generator>(index, at::detail::createCPUGenerator());
}

const at::Generator& default_generator(c10::DeviceIndex device) {
  static auto* made = new std::array<at::Generator, kMostDevices>;
  static auto* once = new std::array<c10::once_flag, kMostDevices>;
  const auto index =
      static_cast<size_t>(with_index({c10::DeviceType::PrivateUse1, device}).index());
  c10::call_once(once->at(index), [&] {
    made->at(index) = new_generator(static_cast<c10::DeviceIndex>(index));
  });
  return made->at(index);
}

at::Generator host_generator(const at::Generator& generator) {
  return generator.get<Generator>()->host;
}

// ---- What Python calls: operators, as they take and return tensors and generators ---

namespace {

at::Generator default_generator_of(int64_t device) {
  return default_generator(checked_index(device));
}

at::Tensor rng_state(int64_t device) {
  return default_generator_of(device).get_state();
}

void set_rng_state(int64_t device, const at::Tensor& state) {
  at::Generator generator = default_generator_of(device);
  std::lock_guard lock(generator.mutex());
  generator.set_state(state);
}

TORCH_LIBRARY_FRAGMENT(spike_torch, m) {
  m.def("default_generator(int device) -> Generator?", default_generator_of);
  m.def("rng_state(int device) -> Tensor", rng_state);
  m.def("set_rng_state(int device, Tensor state) -> ()", set_rng_state);
}

}  // namespace

}  // namespace spike_torch
