// torch.autocast("nkipy"): what torch casts for the CPU's operations it casts for a
// core's, operation by operation; records say to what.

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "records.h"
#include "registration.h"

namespace spike_torch {
namespace {

using c10::IValue;
using torch::jit::Stack;

constexpr auto kDevice = c10::DeviceType::PrivateUse1;
constexpr auto kKey = c10::DispatchKey::AutocastPrivateUse1;

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

torch::CppFunction kernel_of(const std::string& name) {
  switch (record_of(name).cast) {
    case Cast::kLower:
      return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kLower>>();
    case Cast::kWidest:
      return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kWidest>>();
    default:
      return torch::CppFunction::makeFromBoxedFunction<cast_and_call<Cast::kFloat32>>();
  }
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
