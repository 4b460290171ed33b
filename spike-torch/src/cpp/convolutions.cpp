// Convolutions, which torch calls by another name on a device.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "fallback.h"
#include "host_tensors.h"
#include "tensors.h"

namespace spike_torch {
namespace {

using at::IntArrayRef;
using at::Tensor;
using torch::jit::Stack;
using MaybeTensor = std::optional<Tensor>;

c10::OperatorHandle operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

c10::DeviceIndex device_of(std::string_view op, at::ArrayRef<Tensor> tensors) {
  const c10::Device device = tensors[0].device();
  for (const Tensor& tensor : tensors) require_device(tensor, device, op);
  return device.index();
}

Tensor convolution(const Tensor& input, const Tensor& weight, const MaybeTensor& bias,
                   IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                   bool transposed, IntArrayRef output_padding, int64_t groups) {
  const auto device =
      device_of("aten::convolution", {input, weight, bias.value_or(Tensor())});
  static const auto op = operator_of("aten::convolution_overrideable");
  Stack stack;
  torch::jit::push(stack, input, weight, bias, stride, padding, dilation, transposed,
                   output_padding, groups);
  if (run_or_tell(op, device, &stack)) return std::move(stack[0]).toTensor();
  HostTensors tensors(device);
  MaybeTensor host_bias;
  if (bias && bias->defined()) host_bias = tensors.host(*bias);
  Tensor result;
  {
    const Tensor host_input = tensors.host(input), host_weight = tensors.host(weight);
    const ResultsOn results(tensors);
    result = at::_convolution(host_input, host_weight, host_bias, stride, padding,
                              dilation, transposed, output_padding, groups,
                              /*benchmark=*/false, /*deterministic=*/false,
                              /*cudnn_enabled=*/false, /*allow_tf32=*/false);
  }
  return tensors.device_tensor(result);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight,
    IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool transposed,
    IntArrayRef output_padding, int64_t groups, std::array<bool, 3> wanted) {
  const auto index = device_of("aten::convolution_backward", {gradient, input, weight});
  static const auto op = operator_of("aten::convolution_backward_overrideable");
  Stack stack;
  torch::jit::push(stack, gradient, input, weight, stride, padding, dilation,
                   transposed, output_padding, groups, wanted);
  if (run_or_tell(op, index, &stack))
    return {std::move(stack[0]).toTensor(), std::move(stack[1]).toTensor(),
            std::move(stack[2]).toTensor()};
  HostTensors tensors(index);
  std::vector<int64_t> bias_sizes;
  if (wanted[2]) bias_sizes = {gradient.size(1)};
  std::array<Tensor, 3> found;
  {
    const Tensor host_gradient = tensors.host(gradient);
    const Tensor host_input = tensors.host(input), host_weight = tensors.host(weight);
    const ResultsOn results(tensors);
    std::tie(found[0], found[1], found[2]) = at::convolution_backward(
        host_gradient, host_input, host_weight,
        wanted[2] ? at::OptionalIntArrayRef(bias_sizes) : std::nullopt, stride, padding,
        dilation, transposed, output_padding, groups, wanted);
  }
  const auto device = [&](const Tensor& host) {
    return host.defined() ? tensors.device_tensor(host) : host;
  };
  return {device(found[0]), device(found[1]), device(found[2])};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("convolution_overrideable", convolution);
  m.impl("convolution_backward_overrideable", convolution_backward);
}

}  // namespace
}  // namespace spike_torch
