// Tensors of which a core has none: sparse, quantized and nested ones.

#include <torch/library.h>

#include <vector>

#include "records.h"
#include "registration.h"
#include "tensors.h"

namespace spike_torch {
namespace {

using torch::jit::Stack;

template <Kind kind>
void refuse(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack*) {
  refuse_kind(kind, c10::toString(op.operator_name()));
}

template <Kind kind>
void refuse_all(torch::Library& m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&refuse<kind>>());
}

TORCH_LIBRARY_IMPL(_, SparsePrivateUse1, m) { refuse_all<Kind::kSparse>(m); }
TORCH_LIBRARY_IMPL(_, SparseCsrPrivateUse1, m) { refuse_all<Kind::kSparse>(m); }
TORCH_LIBRARY_IMPL(_, QuantizedPrivateUse1, m) { refuse_all<Kind::kQuantized>(m); }
TORCH_LIBRARY_IMPL(_, NestedTensorPrivateUse1, m) { refuse_all<Kind::kNested>(m); }

}  // namespace

// Some are called by the key of what they are given, some by that of what they make.
void register_refusals() {
  using c10::DispatchKey;
  static std::vector<torch::Library> libraries;
  for (const auto key : {DispatchKey::PrivateUse1, DispatchKey::SparseCsrPrivateUse1}) {
    auto& library =
        libraries.emplace_back(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
    for (const auto& [name, record] : records()) {
      if (record.runs != Runs::kRefused) continue;
      library.impl(name.c_str(),
                   torch::CppFunction::makeFromBoxedFunction<&refuse<Kind::kSparse>>());
    }
  }
}

}  // namespace spike_torch
