// Cells of recurrent networks, which torch has in one piece for devices only.
//
// Formulas of torch's documentation of LSTMCell and GRUCell, and their derivatives.

#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>

namespace spike_torch {
namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

Tensor with_bias(const Tensor& gates, const MaybeTensor& bias) {
  return bias && bias->defined() ? gates + *bias : gates;
}

Tensor bias_gradient(const Tensor& gates, bool has_bias) {
  return has_bias ? gates.sum(0) : Tensor();
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell(const Tensor& input_gates,
                                             const Tensor& hidden_gates,
                                             const Tensor& cx,
                                             const MaybeTensor& input_bias,
                                             const MaybeTensor& hidden_bias) {
  const auto parts =
      (with_bias(input_gates, input_bias) + with_bias(hidden_gates, hidden_bias))
          .unsafe_chunk(4, 1);
  const Tensor in = parts[0].sigmoid(), forget = parts[1].sigmoid();
  const Tensor cell = parts[2].tanh(), out = parts[3].sigmoid();
  Tensor cy = forget * cx + in * cell;
  return {out * cy.tanh(), cy, at::cat({in, forget, cell, out}, 1)};
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell_backward(
    const MaybeTensor& grad_hy, const MaybeTensor& grad_cy, const Tensor& cx,
    const Tensor& cy, const Tensor& workspace, bool has_bias) {
  const bool has_hy = grad_hy && grad_hy->defined();
  const bool has_cy = grad_cy && grad_cy->defined();
  if (!has_hy && !has_cy) return {};
  const auto parts = workspace.unsafe_chunk(4, 1);
  const Tensor &in = parts[0], &forget = parts[1], &cell = parts[2], &out = parts[3];
  const Tensor tanh = cy.tanh();
  Tensor of_cy = has_cy ? *grad_cy : at::zeros_like(cx);
  Tensor of_out = at::zeros_like(cx);
  if (has_hy) {
    of_cy = of_cy + *grad_hy * out * (1 - tanh * tanh);
    of_out = *grad_hy * tanh * out * (1 - out);
  }
  const Tensor gates =
      at::cat({of_cy * cell * in * (1 - in), of_cy * cx * forget * (1 - forget),
               of_cy * in * (1 - cell * cell), of_out},
              1);
  return {gates, of_cy * forget, bias_gradient(gates, has_bias)};
}

std::tuple<Tensor, Tensor> gru_cell(const Tensor& input_gates,
                                    const Tensor& hidden_gates, const Tensor& hx,
                                    const MaybeTensor& input_bias,
                                    const MaybeTensor& hidden_bias) {
  const auto input = with_bias(input_gates, input_bias).unsafe_chunk(3, 1);
  const auto hidden = with_bias(hidden_gates, hidden_bias).unsafe_chunk(3, 1);
  const Tensor reset = (input[0] + hidden[0]).sigmoid();
  const Tensor update = (input[1] + hidden[1]).sigmoid();
  const Tensor made = (input[2] + reset * hidden[2]).tanh();
  return {made + update * (hx - made),
          at::cat({reset, update, made, hx, hidden[2]}, 1)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_cell_backward(
    const Tensor& grad_hy, const Tensor& workspace, bool has_bias) {
  const auto parts = workspace.unsafe_chunk(5, 1);
  const Tensor &reset = parts[0], &update = parts[1], &made = parts[2];
  const Tensor &hx = parts[3], &hidden = parts[4];
  const Tensor of_update = grad_hy * (hx - made) * (1 - update) * update;
  const Tensor of_made = grad_hy * (1 - update) * (1 - made * made);
  const Tensor of_reset = of_made * hidden * (1 - reset) * reset;
  const Tensor input = at::cat({of_reset, of_update, of_made}, 1);
  const Tensor hidden_gates = at::cat({of_reset, of_update, of_made * reset}, 1);
  return {input, hidden_gates, grad_hy * update, bias_gradient(input, has_bias),
          bias_gradient(hidden_gates, has_bias)};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_thnn_fused_lstm_cell", lstm_cell);
  m.impl("_thnn_fused_lstm_cell_backward_impl", lstm_cell_backward);
  m.impl("_thnn_fused_gru_cell", gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", gru_cell_backward);
}

}  // namespace
}  // namespace spike_torch
