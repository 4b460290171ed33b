#include "programs.h"
// Comes first, as torch's and Python's own headers are to.

#include <ATen/Context.h>
#include <torch/csrc/DynamicTypes.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/torch_dispatch_mode.h>

#include <algorithm>
#include <list>
#include <unordered_map>

#include "call_keys.h"
#include "eager_programs.h"
#include "fallback.h"

namespace spike_torch {

using c10::IValue;
using torch::jit::Stack;

namespace {

std::atomic<ExecutionMode> chosen{ExecutionMode::kAuto};

// ---- Calls that are known -----------------------------------------------------------

bool has_python() { return Py_IsInitialized() && !_Py_IsFinalizing(); }

// A program, which is a Function of spike_torch.programs.
struct Ready {
  PyObject* function;

  explicit Ready(nb::object made) : function(made.release().ptr()) {}
  ~Ready() {
    if (!has_python()) return;
    const nb::gil_scoped_acquire locked;
    Py_DECREF(function);
  }
  Ready(const Ready&) = delete;
};
using Program = std::shared_ptr<const Ready>;

enum class State { kSeen, kBeingCompiled, kReady, kWithout, kWithoutGain };

struct Known {
  CallKey key;
  OperatorPrograms* of;
  State state;
  size_t uses;  // of the call; once there is a program, of that
  Program program;
};
using Order = std::list<Known>;

struct HashOf {
  size_t operator()(const CallKey* key) const { return key->hash; }
};
struct AreSame {
  bool operator()(const CallKey* one, const CallKey* other) const {
    return *one == *other;
  }
};

// So many calls without and with a program are known; then those are forgotten that
// were used the longest ago.
constexpr size_t kMostCalls = 4096;
constexpr size_t kMostPrograms = 1024;

// A program that ran so often was worth compiling. Of others an operator has few: calls
// that differ each time, as lengths that grow, would be compiled without end.
constexpr size_t kOften = 32;
constexpr size_t kFew = 16;

// At which use a call is compiled: the second; with each `kFew` programs that were of
// little use so far, 16 times as late.
size_t use_to_compile(const OperatorPrograms& programs) {
  const size_t steps = std::min<size_t>(programs.seldom / kFew, 8);
  return size_t{2} << 4 * steps;
}

// Any thread may call its methods, which do not wait for Python's lock: what they drop
// is the caller's to free.
class Calls {
 public:
  struct Found {
    State state;
    Program program;
  };
  // What is to be done for a call: kSeen, nothing; kBeingCompiled, by the caller. What
  // a program gains nothing for is compiled for who wants one in any case.
  Found use(const CallKey& key, OperatorPrograms& of, bool compiles_first,
            Order* dropped);
  void set(const CallKey& key, State state, Program* program, Order* dropped);
  void clear(Order* dropped);
  size_t size();

 private:
  using Place = Order::iterator;
  void note_use(Known& known);
  void forget_last(Order& order, size_t most, Order* dropped);

  std::mutex mutex_;
  Order others_, ready_;  // the last used first
  std::unordered_map<const CallKey*, Place, HashOf, AreSame> by_;
};

void Calls::note_use(Known& known) {
  if (++known.uses == kOften && known.state == State::kReady) --known.of->seldom;
}

void Calls::forget_last(Order& order, size_t most, Order* dropped) {
  if (order.size() <= most) return;
  const Known& last = order.back();
  if (last.state == State::kReady && last.uses < kOften) --last.of->seldom;
  by_.erase(&last.key);
  dropped->splice(dropped->end(), order, std::prev(order.end()));
}

Calls::Found Calls::use(const CallKey& key, OperatorPrograms& of, bool compiles_first,
                        Order* dropped) {
  std::lock_guard lock(mutex_);
  const auto found = by_.find(&key);
  Place place;
  if (found != by_.end()) {
    place = found->second;
    Order& order = place->state == State::kReady ? ready_ : others_;
    order.splice(order.begin(), order, place);
  } else {
    others_.push_front({key, &of, State::kSeen, 0, nullptr});
    place = others_.begin();
    by_.emplace(&place->key, place);
    forget_last(others_, kMostCalls, dropped);
  }
  note_use(*place);
  if (place->state == State::kBeingCompiled) return {State::kSeen, nullptr};
  const bool is_due = place->state == State::kWithoutGain
                          ? compiles_first
                          : place->state == State::kSeen &&
                                (compiles_first || place->uses >= use_to_compile(of));
  if (is_due) place->state = State::kBeingCompiled;
  return {place->state, place->program};
}

// `program` becomes the one that there was.
void Calls::set(const CallKey& key, State state, Program* program, Order* dropped) {
  std::lock_guard lock(mutex_);
  const auto found = by_.find(&key);
  // Meanwhile it was forgotten, and perhaps another thread has compiled it.
  if (found == by_.end() || found->second->state != State::kBeingCompiled) return;
  const Place place = found->second;
  place->state = state;
  if (state != State::kReady) return;
  place->program.swap(*program);
  place->uses = 0;
  ++place->of->seldom;
  ready_.splice(ready_.begin(), others_, place);
  forget_last(ready_, kMostPrograms, dropped);
}

void Calls::clear(Order* dropped) {
  std::lock_guard lock(mutex_);
  while (!ready_.empty()) forget_last(ready_, 0, dropped);
  by_.clear();
  dropped->splice(dropped->end(), others_);
}

size_t Calls::size() {
  std::lock_guard lock(mutex_);
  return by_.size();
}

Calls& calls() {
  static auto* all = new Calls;
  return *all;
}

// ---- Python -------------------------------------------------------------------------

// Of functions that run now torch's compiler traces none: they are no part of what a
// user compiles, also where that calls an operation between two graphs.
class Untraced {
 public:
  Untraced() : before_(set(Py_None)) {}
  ~Untraced() {
    const nb::error_scope error;
    set(before_.ptr());
  }
  Untraced(const Untraced&) = delete;

 private:
  static nb::object set(PyObject* callback) {
    static PyObject* const setter =
        nb::object(
            nb::module_::import_("torch._C._dynamo.eval_frame").attr("set_eval_frame"))
            .release()
            .ptr();
    nb::object before = nb::steal(PyObject_CallOneArg(setter, callback));
    if (!before.is_valid()) throw nb::python_error();
    return before;
  }
  const nb::object before_;
};

// With Python's lock. What it raises is raised as torch's own bindings know it.
template <class Do>
auto with_python(Do act) {
  const nb::gil_scoped_acquire locked;
  try {
    const Untraced untraced;
    return act();
  } catch (nb::python_error& error) {
    error.restore();
    python_error raised;
    raised.persist();
    throw raised;
  }
}

nb::object object_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return nb::none();
  if (!is_number(tensor)) return nb::steal(THPVariable_Wrap(tensor));
  if (tensor.scalar_type() == at::kDouble) return nb::float_(tensor.item<double>());
  if (tensor.scalar_type() == at::kBool) return nb::bool_(tensor.item<bool>());
  return nb::int_(tensor.item<int64_t>());
}

// An argument as Python's operators take it, but for layouts and memory formats, which
// are numbers.
nb::object object_of(const IValue& value, const c10::Argument& argument) {
  if (value.isTensor()) return object_of(value.toTensor());
  if (value.isNone()) return nb::none();
  if (value.isInt()) {
    c10::TypePtr type = argument.real_type();
    if (const auto optional = type->cast<c10::OptionalType>())
      type = optional->getElementType();
    if (type->kind() == c10::TypeKind::ScalarTypeType)
      return nb::borrow(reinterpret_cast<PyObject*>(
          torch::getTHPDtype(static_cast<at::ScalarType>(value.toInt()))));
    return nb::int_(value.toInt());
  }
  if (value.isDouble()) return nb::float_(value.toDouble());
  if (value.isBool()) return nb::bool_(value.toBool());
  if (value.isString()) return nb::cast(value.toStringRef());
  if (value.isDevice()) return nb::cast(std::string("nkipy"));
  nb::list all;
  if (value.isIntList()) {
    for (const int64_t one : value.toIntVector()) all.append(one);
  } else if (value.isDoubleList()) {
    for (const double one : value.toDoubleVector()) all.append(one);
  } else if (value.isBoolList()) {
    for (const bool one : value.toBoolList()) all.append(one);
  } else if (value.isTensorList()) {
    for (const at::Tensor& one : value.toTensorVector()) all.append(object_of(one));
  } else {
    for (const std::optional<at::Tensor>& one : value.toOptionalTensorVector())
      all.append(one ? object_of(*one) : nb::none());
  }
  return all;
}

// Sets a call's state, also where an exception leaves it as if it had not been.
class Compiling {
 public:
  explicit Compiling(const CallKey& key) : key_(key) {}
  ~Compiling() {
    Order dropped;
    calls().set(key_, state_, &program_, &dropped);
  }
  Compiling(const Compiling&) = delete;

  Calls::Found found(State state, Program program = nullptr) {
    state_ = state;
    program_ = std::move(program);
    return {state_, program_};
  }

 private:
  const CallKey& key_;
  State state_ = State::kSeen;
  Program program_;
};

// Operators that are called for this are torch's on the CPU, whatever is about the
// call: without modes, transformations, autocast and gradients.
class Plainly {
  const c10::impl::ForceDispatchKeyGuard keys_{
      c10::default_included_set,
      c10::default_excluded_set | c10::autograd_dispatch_keyset_with_ADInplaceOrView};
  const torch::torch_dispatch_mode::StashTorchDispatchStackGuard modes_;
};

// For who wants a program in any case, or only if one gains something.
Calls::Found compile(const c10::OperatorHandle& op, OperatorPrograms& programs,
                     c10::DeviceIndex device, c10::ArrayRef<IValue> arguments,
                     const CallKey& key, bool in_any_case) {
  Compiling compiling(key);
  return with_python([&]() -> Calls::Found {
    const Plainly plainly;
    nb::list given;
    for (size_t i = 0; i < arguments.size(); ++i)
      given.append(object_of(arguments[i], op.schema().arguments()[i]));
    const nb::object made =
        nb::module_::import_("spike_torch.eager_programs")
            .attr("compile_call")(op.operator_name().name,
                                  op.operator_name().overload_name, given,
                                  static_cast<int>(device), in_any_case);
    std::string without;
    if (nb::try_cast(made, without)) {
      if (without == "operator") programs.may_be = false;
      return compiling.found(without == "gain" ? State::kWithoutGain : State::kWithout);
    }
    nb::cast<Function&>(made);  // raises unless it is one
    return compiling.found(State::kReady, std::make_shared<const Ready>(made));
  });
}

// ---- A call -------------------------------------------------------------------------

thread_local bool is_inside = false;

// Operations that a program's call or its compiling needs are the CPU's.
struct Inside {
  Inside() { is_inside = true; }
  ~Inside() { is_inside = false; }
  Inside(const Inside&) = delete;
};

// Without Python's lock, if the caller has none.
c10::SmallVector<at::Tensor, 3> results_of(const Program& program,
                                           c10::ArrayRef<at::Tensor> tensors) {
  return with_python([&] {
    nb::object arguments =
        nb::steal(PyTuple_New(static_cast<Py_ssize_t>(tensors.size())));
    for (size_t i = 0; i < tensors.size(); ++i)
      PyTuple_SET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i),
                       THPVariable_Wrap(tensors[i]));
    CallOptions options;
    options.bumps_versions = false;
    const nb::list made = call(*nb::inst_ptr<Function>(nb::handle(program->function)),
                               arguments, options);
    c10::SmallVector<at::Tensor, 3> results;
    for (const nb::handle one : made)
      results.push_back(one.is_none() ? at::Tensor() : THPVariable_Unpack(one.ptr()));
    return results;
  });
}

bool is_out_of_memory(python_error& error) {
  const nb::gil_scoped_acquire locked;
  if (!error.type) return false;
  const nb::object type = nb::module_::import_("torch").attr("OutOfMemoryError");
  return PyErr_GivenExceptionMatches(error.type, type.ptr());
}

// False if memory is short, and the CPU can do it all over.
bool execute(const Program& program, const OperatorPrograms& programs,
             c10::ArrayRef<at::Tensor> tensors, size_t count, Stack* stack) {
  c10::SmallVector<at::Tensor, 3> results;
  try {
    results = results_of(program, tensors);
  } catch (const c10::OutOfMemoryError&) {  // it has not begun
    return false;
  } catch (python_error& error) {
    if (programs.reads_written || !is_out_of_memory(error)) throw;
    return false;
  }
  const size_t begin = stack->size() - count;
  c10::SmallVector<IValue, 3> returned;
  size_t next = 0;
  for (const int argument : programs.returns) {
    if (argument < 0) {
      returned.emplace_back(std::move(results[next++]));
    } else {
      returned.push_back((*stack)[begin + static_cast<size_t>(argument)]);
    }
  }
  torch::jit::drop(*stack, count);
  for (IValue& value : returned) stack->push_back(std::move(value));
  return true;
}

}  // namespace

ExecutionMode execution_mode() { return chosen.load(std::memory_order_relaxed); }
void set_execution_mode(ExecutionMode wanted) { chosen = wanted; }

OperatorPrograms::OperatorPrograms(const c10::OperatorHandle& op,
                                   c10::ArrayRef<int> writes,
                                   c10::ArrayRef<int> returns)
    : writes(writes.begin(), writes.end()), returns(returns.begin(), returns.end()) {
  const auto& schema = op.schema();
  const bool is_torchs = op.operator_name().name.rfind("aten::", 0) == 0;
  bool fits = is_torchs && !schema.returns().empty() && !schema.is_vararg();
  for (const int i : writes) {
    const c10::Argument& argument = schema.arguments()[static_cast<size_t>(i)];
    fits = fits && argument.type()->kind() == c10::TypeKind::TensorType;
    reads_written = reads_written || !argument.is_out();
  }
  for (const c10::Argument& result : schema.returns()) {
    const auto* alias = result.alias_info();
    fits = fits && result.type()->kind() == c10::TypeKind::TensorType &&
           (!alias || alias->isWrite());
  }
  may_be = fits;
}

Tried run_program(const c10::OperatorHandle& op, OperatorPrograms& programs,
                  c10::DeviceIndex device, Stack* stack) {
  if (is_inside || !has_python()) return Tried::kNone;
  // Who refuses what the CPU computes wants a program the first time.
  const bool compiles_first = execution_mode() == ExecutionMode::kDevice ||
                              fallback_policy() == FallbackPolicy::kError;
  // A call that is the same is to have the same result, to the last bit.
  if (!compiles_first && at::globalContext().deterministicAlgorithms())
    return Tried::kNone;
  const size_t count = op.schema().arguments().size();
  const auto arguments = c10::ArrayRef<IValue>(*stack).slice(stack->size() - count);
  const std::optional<KeyedCall> keyed =
      key_of(&programs, device, arguments, programs.writes);
  if (!keyed) return Tried::kNone;
  Order dropped;
  Calls::Found found = calls().use(keyed->key, programs, compiles_first, &dropped);
  if (found.state == State::kSeen) return Tried::kNotNow;
  const Inside inside;
  if (found.state == State::kBeingCompiled)
    found = compile(op, programs, device, arguments, keyed->key, compiles_first);
  if (found.state == State::kWithoutGain) return Tried::kNotNow;
  if (!found.program || !execute(found.program, programs, keyed->tensors, count, stack))
    return Tried::kNone;
  programs.count.fetch_add(1, std::memory_order_relaxed);
  return Tried::kRan;
}

size_t known_calls() { return calls().size(); }

void forget_calls() {
  Order dropped;
  calls().clear(&dropped);
}

}  // namespace spike_torch
