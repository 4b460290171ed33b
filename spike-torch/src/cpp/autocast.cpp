// torch.autocast("nkipy"): what torch casts for the CPU's operations it casts for a
// core's, operation by operation.

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string_view>
#include <unordered_set>

#include "registration.h"

namespace spike_torch {
namespace {

using c10::IValue;
using torch::jit::Stack;

constexpr auto kDevice = c10::DeviceType::PrivateUse1;
constexpr auto kKey = c10::DispatchKey::AutocastPrivateUse1;

// What becomes of floating-point arguments, as torch's documentation of autocast tells.
enum class Cast { kLower, kFloat32, kWidest };

template <class Do>
void each_tensor(IValue& value, Do act) {
  if (value.isTensor()) {
    value = act(value.toTensor());
  } else if (value.isTensorList()) {
    std::vector<at::Tensor> made;
    for (const at::Tensor& tensor : value.toTensorVector()) made.push_back(act(tensor));
    value = std::move(made);
  }
}

template <Cast cast>
void cast_and_call(const c10::OperatorHandle& op, Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard once(kKey);
  const size_t begin = stack->size() - op.schema().arguments().size();
  at::ScalarType to =
      cast == Cast::kFloat32
          ? at::kFloat
          : at::autocast::get_lower_precision_fp_from_device_type(kDevice);
  if (cast == Cast::kWidest) {
    for (size_t i = begin; i < stack->size(); ++i) {
      each_tensor((*stack)[i], [&](const at::Tensor& tensor) {
        to = at::autocast::prioritize(to, tensor, kDevice);
        return tensor;
      });
    }
  }
  for (size_t i = begin; i < stack->size(); ++i) {
    each_tensor((*stack)[i], [&](const at::Tensor& tensor) {
      return at::autocast::cached_cast(to, tensor, kDevice);
    });
  }
  op.callBoxed(stack);
}

// Of the CPU's operations that cast, those that compute in the lower precision, and
// those that take the widest of what they are given ("CPU Op-Specific Behavior" in
// torch's documentation of torch.amp). All others compute in float32.
const std::unordered_set<std::string_view> kLower = {
    "aten::_addmm_activation",
    "aten::_convolution.deprecated",
    "aten::_native_multi_head_attention",
    "aten::addbmm",
    "aten::addmm",
    "aten::baddbmm",
    "aten::bmm",
    "aten::conv1d",
    "aten::conv1d.padding",
    "aten::conv2d",
    "aten::conv2d.padding",
    "aten::conv3d",
    "aten::conv3d.padding",
    "aten::conv_tbc",
    "aten::conv_transpose1d",
    "aten::conv_transpose2d.input",
    "aten::conv_transpose3d.input",
    "aten::linalg_vecdot",
    "aten::linear",
    "aten::matmul",
    "aten::mkldnn_rnn_layer",
    "aten::mm",
    "aten::prelu",
    "aten::scaled_dot_product_attention",
};
const std::unordered_set<std::string_view> kWidest = {"aten::cat", "aten::index_copy",
                                                      "aten::stack"};

torch::CppFunction kernel_of(const std::string& name) {
  if (kLower.count(name))
    return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kLower>>();
  if (kWidest.count(name))
    return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kWidest>>();
  return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kFloat32>>();
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}

}  // namespace

void register_autocast() {
  static torch::Library library(torch::Library::IMPL, "aten", kKey, __FILE__, __LINE__);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const auto op = dispatcher.findOp(name);
    if (!op || !op->hasKernelForDispatchKey(c10::DispatchKey::AutocastCPU)) continue;
    const std::string text = c10::toString(name);
    library.impl(text.c_str(), kernel_of(text));
  }
}

}  // namespace spike_torch
