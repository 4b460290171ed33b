// Operations whose CPU kernel would do something else than a device's.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>

#include "fallback.h"
#include "host_tensors.h"

namespace spike_torch {
namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

// The CPU's kernel would draw from the CPU's generator, which it is not given.
std::tuple<Tensor, Tensor> native_dropout(const Tensor& input, double p,
                                          std::optional<bool> train) {
  TORCH_CHECK(!c10::isIntegralType(input.scalar_type(), /*includeBool=*/true),
              "result type Float can't be cast to the desired output type ",
              input.scalar_type());
  if (input.numel() == 0 || !train.value_or(true))
    return {input.clone(), at::ones_like(input, input.options().dtype(c10::kBool))};
  if (p == 1) return {at::zeros_like(input), at::zeros_like(input, at::kBool)};
  const double kept = 1 - p;
  // With the input's strides, as numbers are drawn in the order of the memory: those of
  // the CPU's dropout, whose noise is like its input.
  Tensor mask = at::empty_like(input, input.options().dtype(c10::kBool));
  mask.bernoulli_(kept);
  return {input * mask * (1 / kept), mask};
}

// Attention by products and softmax, which are operations of their own.
int64_t fused_sdp_choice(const Tensor&, const Tensor&, const Tensor&,
                         const MaybeTensor&, double, bool, std::optional<double>,
                         bool) {
  return 0;
}

// As torch's kernel for GPUs counts them: bounds are cut to integers, and so are
// quotients.
Tensor histogram_of_integers(const Tensor& x, int64_t bins, const at::Scalar& min,
                             const at::Scalar& max) {
  TORCH_CHECK(bins > 0, "histc(): bins must be > 0, but got ", bins);
  const Tensor flat = x.reshape(-1).to(at::kLong);
  auto low = min.to<int64_t>(), high = max.to<int64_t>();
  if (low == high && flat.numel() > 0) {
    low = flat.min().item<int64_t>();
    high = flat.max().item<int64_t>();
  }
  if (low == high) {
    --low;
    ++high;
  }
  TORCH_CHECK(low < high, "histc(): max must be larger than min");
  const double product = (static_cast<double>(high) - static_cast<double>(low)) * bins;
  TORCH_CHECK(product < 9e18, "histc(): integers from ", low, " to ", high, " in ",
              bins, " bins exceed 64 bits; histogram x.float() instead");
  const Tensor kept = flat.masked_select((flat >= low).logical_and(flat <= high));
  const Tensor bin = ((kept - low) * bins).floor_divide(high - low).clamp_max(bins - 1);
  return at::bincount(bin, {}, bins).to(x.scalar_type());
}

// Of integers the CPU has none. Models that ask for one by the device's type, as
// transformers' mixtures of experts, take integers on every device but the CPU.
Tensor histc(const Tensor& self, int64_t bins, const at::Scalar& min,
             const at::Scalar& max) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("aten::histc", "");
  const c10::DeviceIndex device = self.device().index();
  torch::jit::Stack stack;
  torch::jit::push(stack, self, bins, min, max);
  if (run_or_tell(op, device, &stack)) return std::move(stack[0]).toTensor();
  HostTensors tensors(device);
  const Tensor host = tensors.host(self);
  const bool is_integer =
      c10::isIntegralType(host.scalar_type(), /*includeBool=*/false);
  return tensors.device_tensor(is_integer ? histogram_of_integers(host, bins, min, max)
                                          : at::histc(host, bins, min, max));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("histc", histc);
  m.impl("native_dropout", native_dropout);
  m.impl("_fused_sdp_choice", fused_sdp_choice);
}

}  // namespace
}  // namespace spike_torch
