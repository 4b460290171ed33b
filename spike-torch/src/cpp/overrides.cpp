// Operations whose CPU kernel would do something else than a device's.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>

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

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("native_dropout", native_dropout);
  m.impl("_fused_sdp_choice", fused_sdp_choice);
}

}  // namespace
}  // namespace spike_torch
