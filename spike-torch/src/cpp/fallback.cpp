#include "fallback.h"

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <c10/util/flat_hash_map.h>
#include <torch/library.h>

#include <atomic>
#include <mutex>

#include "eager_programs.h"
#include "host_tensors.h"
#include "records.h"
#include "registration.h"
#include "runtime.h"
#include "tensors.h"

namespace spike_torch {
namespace {

using c10::IValue;
using torch::jit::Stack;

// ---- Counting -----------------------------------------------------------------------

std::atomic<FallbackPolicy> policy{FallbackPolicy::kLog};
std::atomic<void (*)(const std::string&)> log_name{nullptr};

// What is known of an operator. One that was seen stays where it is, also when the
// library that defined it is gone: another thread may be about it.
struct Seen {
  explicit Seen(const c10::OperatorHandle& op);
  const std::string name;
  const bool is_torchs;  // others' may keep what they are given, and what they make
  std::atomic<uint64_t> count{0};
  std::atomic<bool> is_told{false};
  int generator = -1;                // which argument is one
  uint64_t may_be_host = 0;          // of each argument a bit
  c10::SmallVector<int, 2> writes;   // arguments that are written to
  c10::SmallVector<int, 2> returns;  // for each result the argument that it is, or -1
  std::optional<OperatorPrograms> programs;
};

std::mutex seen_mutex;
// By name: what is defined, and `gone` what was, and may be defined with another
// schema.
struct All {
  std::map<std::string, std::unique_ptr<Seen>> defined;
  std::vector<std::unique_ptr<Seen>> gone;
};
All& all_seen() {
  static auto* all = new All;
  return *all;
}
std::atomic<uint64_t> definitions_gone{0};

class ForgetsOperators final : public c10::OpRegistrationListener {
  void onOperatorRegistered(const c10::OperatorHandle&) override {}
  void onOperatorDeregistered(const c10::OperatorHandle& op) override {
    std::lock_guard lock(seen_mutex);
    auto& [defined, gone] = all_seen();
    const auto found = defined.find(c10::toString(op.operator_name()));
    if (found == defined.end()) return;
    gone.push_back(std::move(found->second));
    defined.erase(found);
    ++definitions_gone;
  }
};

// By operator, of this thread: what all threads have is asked for once.
Seen& seen(const c10::OperatorHandle& op) {
  thread_local ska::flat_hash_map<const void*, Seen*> known;
  thread_local uint64_t known_gone = 0;
  // Another operator may be where one was.
  const uint64_t gone = definitions_gone.load(std::memory_order_acquire);
  if (std::exchange(known_gone, gone) != gone) known.clear();
  Seen*& place = known[&op.operator_name()];
  if (place) return *place;
  std::lock_guard lock(seen_mutex);
  auto& made = all_seen().defined[c10::toString(op.operator_name())];
  if (!made) made = std::make_unique<Seen>(op);
  return *(place = made.get());
}

Seen::Seen(const c10::OperatorHandle& op)
    : name(c10::toString(op.operator_name())), is_torchs(name.rfind("aten::", 0) == 0) {
  const auto& schema = op.schema();
  const auto& arguments = schema.arguments();
  const auto index_of = [&](const std::string& argument) {
    const auto index = schema.argumentIndexWithName(argument);
    TORCH_CHECK(index && *index < 64, "nkipy: '", name, "' has no argument ", argument);
    return *index;
  };
  const Record& record = record_of(name);
  for (const std::string& argument : record.host_arguments)
    may_be_host |= uint64_t{1} << index_of(argument);
  for (int i = 0; i < static_cast<int>(arguments.size()); ++i) {
    const auto* alias = arguments[i].alias_info();
    if (alias && alias->isWrite()) writes.push_back(i);
    const auto& type = *arguments[i].type();
    if (type.kind() == c10::TypeKind::GeneratorType ||
        type.isSubtypeOf(*c10::OptionalType::create(c10::GeneratorType::get()))) {
      generator = i;
    }
  }
  for (const auto& result : schema.returns()) {
    int found = -1;
    if (const auto* alias = result.alias_info(); alias && alias->isWrite()) {
      for (const int i : writes) {
        const auto* written = arguments[i].alias_info();
        if (written && *written == *alias) found = i;
      }
    }
    returns.push_back(found);
  }
  programs.emplace(op, writes, returns);
  if (generator >= 0 || !record.writes.empty()) programs->may_be = false;
  for (const std::string& argument : record.writes)
    writes.push_back(index_of(argument));
}

// Of a call that may have a program at another time nothing is said.
void tell(Seen& op, Tried tried) {
  op.count.fetch_add(1, std::memory_order_relaxed);
  const FallbackPolicy now = policy.load(std::memory_order_relaxed);
  if (now == FallbackPolicy::kSilent || tried == Tried::kNotNow) return;
  TORCH_CHECK_NOT_IMPLEMENTED(
      now != FallbackPolicy::kError, "nkipy: the core has no program for '", op.name,
      "', and what falls back to the CPU is an error, as "
      "NKIPY_TORCH_FALLBACK=error or spike_torch.set_fallback(\"error\") asks for");
  if (op.is_told.load(std::memory_order_relaxed) || op.is_told.exchange(true)) return;
  if (now == FallbackPolicy::kLog) {
    if (auto* log = log_name.load()) log(op.name);
  } else {
    TORCH_WARN("nkipy: '", op.name, "' is computed by the CPU, as the core has no ",
               "program for it. This is said once for each operator; "
               "NKIPY_TORCH_FALLBACK=silent says nothing");
  }
}

// ---- Arguments ----------------------------------------------------------------------

template <class Do>
void each_tensor(const IValue& value, Do act) {
  if (value.isTensor()) {
    act(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) act(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      if (tensor) act(*tensor);
    }
  }
}

bool is_device(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_privateuseone();
}

// The core of the tensors, or the one that is asked for.
c10::DeviceIndex device_of(const Seen& op, c10::ArrayRef<IValue> arguments) {
  std::optional<c10::Device> device, other;
  for (const IValue& value : arguments) {
    if (!device && value.isDevice() && value.toDevice().is_privateuseone())
      device = with_index(value.toDevice());
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool may_be_host = i < 64 && (op.may_be_host >> i & 1);
    each_tensor(arguments[i], [&](const at::Tensor& tensor) {
      if (is_device(tensor)) {
        if (!device) device = tensor.device();
        require_device(tensor, *device, op.name);
      } else if (tensor.defined() && !other && tensor.dim() > 0 && !may_be_host) {
        other = tensor.device();
      }
    });
  }
  if (op.generator >= 0 && arguments[op.generator].isGenerator()) {
    const auto type = arguments[op.generator].toGenerator().device().type();
    const auto wanted = device || !other ? c10::DeviceType::PrivateUse1 : other->type();
    TORCH_CHECK(type == wanted, "Expected a '", c10::DeviceTypeName(wanted, true),
                "' device type for generator but found '",
                c10::DeviceTypeName(type, true), "'");
  }
  if (device && other) raise_two_devices(*device, *other, op.name);
  return device ? device->index() : current_device();
}

at::Tensor host(HostTensors& tensors, const at::Tensor& tensor) {
  return is_device(tensor) ? tensors.host(tensor) : tensor;
}

IValue host(HostTensors& tensors, const IValue& value) {
  if (value.isTensor()) return host(tensors, value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> made;
    for (const at::Tensor& tensor : value.toTensorVector())
      made.push_back(host(tensors, tensor));
    return made;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> made;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      if (tensor) {
        made.push_back(host(tensors, *tensor));
      } else {
        made.push_back(std::nullopt);
      }
    }
    return made;
  }
  if (value.isDevice() && value.toDevice().is_privateuseone())
    return c10::Device(c10::DeviceType::CPU);
  if (value.isGenerator() &&
      value.toGenerator().device().type() == c10::DeviceType::PrivateUse1) {
    return host_generator(value.toGenerator());
  }
  return value;
}

// ---- Results ------------------------------------------------------------------------

void update(HostTensors& tensors, const IValue& device, const IValue& host) {
  if (device.isTensor()) {
    if (is_device(device.toTensor()))
      tensors.update(device.toTensor(), host.toTensor());
  } else if (device.isTensorList()) {
    const auto of_device = device.toTensorVector(), of_host = host.toTensorVector();
    for (size_t i = 0; i < of_device.size(); ++i) {
      if (is_device(of_device[i])) tensors.update(of_device[i], of_host[i]);
    }
  }
}

at::Tensor on_device(HostTensors& tensors, const Seen& op, const at::Tensor& host) {
  if (!host.defined() || !host.device().is_cpu()) return host;
  if (host.layout() != at::kStrided)
    refuse_kind(host.layout() == at::kMkldnn ? Kind::kOpaque : Kind::kSparse, op.name);
  if (host.is_quantized()) refuse_kind(Kind::kQuantized, op.name);
  return tensors.device_tensor(host);
}

void to_device(HostTensors& tensors, const Seen& op, IValue* result) {
  if (result->isTensor()) {
    // Moved out, so that the memory of a tensor that nobody else has can be kept.
    const at::Tensor host = std::move(*result).toTensor();
    *result = on_device(tensors, op, host);
  } else if (result->isTensorList()) {
    c10::List<at::Tensor> made;
    std::vector<at::Tensor> of_host = result->toTensorVector();
    *result = IValue();
    for (const at::Tensor& host : of_host) made.push_back(on_device(tensors, op, host));
    *result = std::move(made);
  }
}

// At the end, which may be an exception, whose traceback keeps tensors as well.
struct Parting {
  HostTensors* const tensors;
  ~Parting() {
    if (!tensors) return;
    try {
      tensors->part();
    } catch (const std::exception&) {  // no memory for a copy
    }
  }
};

bool run_or_tell(const c10::OperatorHandle& op, Seen& known, c10::DeviceIndex device,
                 Stack* stack) {
  const Tried tried = try_program(op, *known.programs, device, stack);
  if (tried != Tried::kRan) tell(known, tried);
  return tried == Tried::kRan;
}

void fall_back(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  require_not_forked();
  Seen& known = seen(op);
  const size_t count = op.schema().arguments().size();
  const size_t begin = stack->size() - count;
  const c10::DeviceIndex device =
      device_of(known, c10::ArrayRef<IValue>(*stack).slice(begin));
  if (run_or_tell(op, known, device, stack)) return;

  HostTensors tensors(device);
  const Parting parting{known.is_torchs ? nullptr : &tensors};
  c10::SmallVector<IValue, 2> written, of_host;
  for (const int i : known.writes) {
    written.push_back((*stack)[begin + i]);
    // Whatever its shape.
    each_tensor(written.back(), [&](const at::Tensor& tensor) {
      require_device(tensor, {c10::DeviceType::PrivateUse1, device}, known.name);
    });
  }
  for (size_t i = begin; i < stack->size(); ++i) {
    (*stack)[i] = host(tensors, (*stack)[i]);
  }
  if (known.generator >= 0) {
    IValue& generator = (*stack)[begin + known.generator];
    if (generator.isNone()) generator = host_generator(default_generator(device));
  }
  for (const int i : known.writes) of_host.push_back((*stack)[begin + i]);

  const auto update_written = [&] {
    for (size_t i = 0; i < written.size(); ++i) update(tensors, written[i], of_host[i]);
  };
  try {
    std::optional<ResultsOn> results;
    if (known.is_torchs) results.emplace(tensors);
    op.redispatchBoxed(c10::DispatchKeySet(tensors.key()), stack);
  } catch (...) {
    // As the CPU leaves them: some may be resized or written to.
    try {
      update_written();
    } catch (const std::exception&) {
    }
    throw;
  }
  update_written();
  const size_t results = stack->size() - known.returns.size();
  for (size_t i = 0; i < known.returns.size(); ++i) {
    IValue& result = (*stack)[results + i];
    if (known.returns[i] < 0) {
      to_device(tensors, known, &result);
      continue;
    }
    for (size_t w = 0; w < written.size(); ++w) {
      if (known.writes[w] == known.returns[i]) result = written[w];
    }
  }
}

}  // namespace

FallbackPolicy fallback_policy() { return policy; }
void set_fallback_policy(FallbackPolicy wanted) { policy = wanted; }
bool run_or_tell(const c10::OperatorHandle& op, c10::DeviceIndex device, Stack* stack) {
  return run_or_tell(op, seen(op), device, stack);
}
void set_fallback_log(void (*log)(const std::string&)) { log_name = log; }

std::map<std::string, uint64_t> fallback_counts() {
  std::lock_guard lock(seen_mutex);
  std::map<std::string, uint64_t> counts;
  const auto& [defined, gone] = all_seen();
  for (const auto& [name, op] : defined) {
    if (const uint64_t count = op->count) counts[name] += count;
  }
  for (const auto& op : gone) {
    if (const uint64_t count = op->count) counts[op->name] += count;
  }
  return counts;
}

std::map<std::string, uint64_t> program_counts() {
  std::lock_guard lock(seen_mutex);
  std::map<std::string, uint64_t> counts;
  for (const auto& [name, op] : all_seen().defined) {
    if (const uint64_t count = op->programs->count) counts[name] += count;
  }
  return counts;
}

void reset_program_counts() {
  std::lock_guard lock(seen_mutex);
  for (const auto& [name, op] : all_seen().defined) op->programs->count = 0;
}

void reset_fallback_counts() {
  std::lock_guard lock(seen_mutex);
  for (const auto& [name, op] : all_seen().defined) {
    op->count = 0;
    op->is_told = false;
  }
  for (const auto& op : all_seen().gone) op->count = 0;
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fall_back>());
}

void register_fallbacks() {
  static torch::Library library(torch::Library::IMPL, "aten",
                                c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  static torch::Library nested(torch::Library::IMPL, "aten",
                               c10::DispatchKey::NestedTensorPrivateUse1, __FILE__,
                               __LINE__);
  auto& dispatcher = c10::Dispatcher::singleton();
  // For as long as the process lives.
  static auto* listening = new c10::RegistrationHandleRAII(
      dispatcher.addRegistrationListener(std::make_unique<ForgetsOperators>()));
  (void)listening;
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(name);
    if (!op || name.name.rfind("aten::", 0) != 0) continue;
    const auto has = [&](c10::DispatchKey key) {
      return op->hasKernelForDispatchKey(key);
    };
    if (has(c10::DispatchKey::NestedTensorCPU) &&
        !has(c10::DispatchKey::NestedTensorPrivateUse1)) {
      nested.impl(c10::toString(name).c_str(),
                  torch::CppFunction::makeFromBoxedFunction<&fall_back>());
    }
    const std::string text = c10::toString(name);
    const bool is_composite = has(c10::DispatchKey::CompositeImplicitAutograd) ||
                              has(c10::DispatchKey::CompositeExplicitAutograd);
    const bool is_kept = is_composite && has(c10::DispatchKey::CPU) &&
                         !has(c10::DispatchKey::PrivateUse1);
    if (!is_kept && record_of(text).runs != Runs::kWhole) continue;
    library.impl(text.c_str(), torch::CppFunction::makeFromBoxedFunction<&fall_back>());
  }
}

}  // namespace spike_torch
