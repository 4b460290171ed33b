// The threads by which autograd computes gradients, one of each core.

#include <ATen/ATen.h>

#include <thread>

#include "registration.h"
#include "runtime.h"

namespace spike_torch {

// A thread frees what it had of a backward pass after the pass is done, and takes
// Python's lock for it. While Python ends that ends the process, by std::terminate. A
// pass that begins when the other one has been freed has nothing of Python's: it is of
// a thread that Python does not know.
void wait_for_autograd() {
  std::thread([] {
    try {
      for (c10::DeviceIndex index = 0; index < device_count(); ++index) {
        const c10::Device device(c10::DeviceType::PrivateUse1, index);
        const at::Tensor nothing = at::empty({0}, device).requires_grad_();
        nothing.view({0}).backward(at::empty({0}, device));
      }
    } catch (const std::exception&) {
      // A device that is gone has nobody to wait for.
    }
  }).join();
}

}  // namespace spike_torch
