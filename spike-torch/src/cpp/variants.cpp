// Programs that are loaded when they are needed, as nkipy.execution has them.

#include <numeric>

#include "programs.h"
#include "runtime.h"
#include "statistics.h"

namespace spike_torch {
namespace {

nb::object residency() {
  return nb::module_::import_("nkipy.execution.residency").attr("LOADED");
}

PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

bool has_elements(const Factors& sizes) {
  for (const Values& factors : sizes) {
    for (int64_t factor : factors) {
      if (factor == 0) return false;
    }
  }
  return true;
}

}  // namespace

// ---- Calls and who unloads ----------------------------------------------------------

template <class Ready>
void CallLock::wait(Ready is_ready) {
  const nb::gil_scoped_release released;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, is_ready);
}

void CallLock::enter() {
  while (true) {
    {
      std::lock_guard lock(mutex_);
      if (!is_held_) {
        ++running_;
        return;
      }
    }
    wait([&] { return !is_held_; });
  }
}

void CallLock::leave() {
  {
    std::lock_guard lock(mutex_);
    --running_;
  }
  changed_.notify_all();
}

bool CallLock::acquire(bool is_blocking) {
  while (true) {
    {
      std::lock_guard lock(mutex_);
      if (!is_held_ && running_ == 0) return is_held_ = true;
    }
    if (!is_blocking) return false;
    wait([&] { return !is_held_ && running_ == 0; });
  }
}

void CallLock::release() {
  {
    std::lock_guard lock(mutex_);
    is_held_ = false;
  }
  changed_.notify_all();
}

// ---- A program ----------------------------------------------------------------------

Variant::Variant(nb::object resident, std::vector<std::string> names,
                 std::vector<Factors> inputs, std::vector<Factors> results)
    : inputs(std::move(inputs)),
      results(std::move(results)),
      resident_(std::move(resident)),
      names_(std::move(names)),
      last_at_(this->inputs.size()) {
  for (const std::string& name : names_) pointers_.push_back(name.c_str());
  size_t needed = 0;
  for (const auto* tensors : {&this->inputs, &this->results}) {
    for (const Factors& sizes : *tensors) needed += has_elements(sizes);
  }
  TORCH_CHECK_VALUE(needed == names_.size(), "nkipy: a program has ", names_.size(),
                    " parameters and results, and was described with ", needed,
                    " that have elements");
}

void Variant::release() {
  calls.clear();
  model_.reset();
}

nb::handle Variant::loaded(nb::handle self) {
  if (!model_.is_valid())
    nb::module_::import_("spike_torch.programs").attr("_load")(self);
  return model_;
}

void Variant::note_use() {
  static PyObject* const newest = interned("newest");
  static PyObject* const loaded = residency().release().ptr();
  if (!model_.is_valid()) return;  // who loads it says so
  const nb::object last = nb::steal(PyObject_GetAttr(loaded, newest));
  if (!last.is_valid()) throw nb::python_error();
  if (PyLong_AsSize_t(last.ptr()) != reinterpret_cast<size_t>(resident_.ptr()))
    nb::handle(loaded).attr("use")(resident_);
}

void Variant::require_fit(const Description& of) const {
  const auto require = [&](const auto& specs, const auto& sizes, const char* what) {
    TORCH_CHECK_VALUE(specs.size() == sizes.size(), "nkipy: '", of.name, "' has ",
                      specs.size(), " ", what, ", and a program of it ", sizes.size());
    for (size_t i = 0; i < specs.size(); ++i) {
      bool fits = specs[i].dimensions.size() == sizes[i].size();
      for (size_t k = 0; fits && k < sizes[i].size(); ++k)
        fits = specs[i].dimensions[k].size() == sizes[i][k].size();
      TORCH_CHECK_VALUE(fits, "nkipy: '", of.name,
                        "' and a program of it differ in the ", "dimensions of number ",
                        i, " of the ", what);
    }
  };
  require(of.inputs, inputs, "inputs");
  require(of.results, results, "results");
}

nb::object Variant::profiled(nb::handle self, int core, const Parts& parts,
                             size_t inputs, const std::string& file) {
  const nb::object model = nb::borrow(loaded(self));
  nb::dict taken, given;
  for (size_t i = 0; i < parts.size(); ++i) {
    int status = SPIKE_NRT_SUCCESS;
    const Slice slice = slice_of(parts[i], core, &status);
    check(status, "name a tensor's memory");
    PyObject* made = nullptr;
    check(spike().tensor_to_python(slice.get(), &made), "name a tensor's memory");
    (i < inputs ? taken : given)[pointers_[i]] = nb::steal(made);
  }
  return model.attr("prepare")(taken, given).attr("profile")(file);
}

// ---- A function and its programs ----------------------------------------------------

namespace {

constexpr size_t kMostVariants = 64;
constexpr size_t kMostPlans = 1024;

std::string text_of(const Values& values) {
  std::string text = "(";
  for (size_t i = 0; i < values.size(); ++i)
    text += (i ? ", " : "") + std::to_string(values[i]);
  return text + ")";
}

}  // namespace

/// A program that there is or that is being compiled, by one thread for all.
struct Function::Slot {
  nb::object variant;
  std::optional<std::thread::id> compiling;
  uint64_t used = 0;
  std::mutex mutex;
  std::condition_variable changed;
};

Function::Function(Description description, nb::object compile)
    : description(std::move(description)), compile(std::move(compile)) {}

Values Function::buckets_of(const Values& symbols) const {
  TORCH_CHECK_VALUE(symbols.size() == description.symbols.size(), "nkipy: '",
                    description.name, "' has ", description.symbols.size(),
                    " sizes that vary, but received ", symbols.size());
  Values buckets;
  for (size_t i = 0; i < symbols.size(); ++i)
    buckets.push_back(description.symbols[i].buckets.choose(symbols[i]));
  return buckets;
}

std::shared_ptr<const Plan> Function::plan(const Values& symbols) {
  if (last_ && last_->symbols == symbols) return last_;
  const auto known = plans_.find(symbols);
  if (known != plans_.end()) return last_ = known->second;
  auto made = std::make_shared<Plan>();
  made->symbols = symbols;
  made->buckets = buckets_of(symbols);
  made->object = variant(made->buckets, &symbols);
  made->variant = nb::cast<Variant*>(made->object);
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i] > 0 && made->buckets[i] > 0)
      made->pad_ratio *= double(made->buckets[i]) / double(symbols[i]);
  }
  const auto plan_all = [&](const auto& specs, const auto& sizes, auto& geometries,
                            auto& parts) {
    for (size_t i = 0; i < specs.size(); ++i) {
      geometries.emplace_back(specs[i].dimensions, symbols, sizes[i],
                              c10::elementSize(specs[i].dtype));
      parts.push_back(made->part_count);
      made->part_count += geometries.back().padded_bytes != 0;
    }
  };
  plan_all(description.inputs, made->variant->inputs, made->inputs, made->input_parts);
  made->input_part_count = made->part_count;
  plan_all(description.results, made->variant->results, made->results,
           made->result_parts);
  for (const ReturnSpec& spec : description.returns)
    made->numbers.push_back(spec.number ? spec.number->evaluate(symbols) : 0);
  if (plans_.size() >= kMostPlans) plans_.clear();
  plans_[symbols] = made;
  return last_ = made;
}

nb::object Function::variant(const Values& buckets, const Values* symbols) {
  auto found = slots_.find(buckets);
  if (found == slots_.end()) {
    if (symbols && !description.may_compile) refuse_to_compile(buckets, *symbols);
    if (slots_.size() >= kMostVariants) drop_oldest();
    found = slots_.emplace(buckets, std::make_shared<Slot>()).first;
  }
  const std::shared_ptr<Slot> slot = found->second;
  slot->used = ++uses_;
  return compiled_variant(slot, buckets);
}

nb::object Function::compiled_variant(const std::shared_ptr<Slot>& slot,
                                      const Values& buckets) {
  while (!slot->variant.is_valid() && slot->compiling) {
    TORCH_CHECK(*slot->compiling != std::this_thread::get_id(), "nkipy: compiling '",
                description.name, "' for ", text_of(buckets),
                " calls it with the same sizes");
    {
      const nb::gil_scoped_release released;
      std::unique_lock lock(slot->mutex);
      slot->changed.wait_for(lock, std::chrono::milliseconds(50));
    }
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
  if (slot->variant.is_valid()) return slot->variant;
  slot->compiling = std::this_thread::get_id();
  struct Done {
    Slot& slot;
    ~Done() {
      slot.compiling.reset();
      slot.changed.notify_all();
    }
  } done{*slot};
  nb::object made = compile(nb::tuple(nb::cast(buckets)));
  Variant* variant = nullptr;
  TORCH_CHECK_TYPE(nb::try_cast(made, variant) && variant, "nkipy: what compiles '",
                   description.name, "' is to return a Variant");
  variant->require_fit(description);
  variant->resident().attr("register")(made);
  if (description.is_counted) count_compilation();
  return slot->variant = made;
}

void Function::drop_oldest() {
  auto oldest = slots_.end();
  for (auto it = slots_.begin(); it != slots_.end(); ++it) {
    if (it->second->compiling) continue;
    if (oldest == slots_.end() || it->second->used < oldest->second->used) oldest = it;
  }
  if (oldest == slots_.end()) return;
  for (auto it = plans_.begin(); it != plans_.end();)
    it = it->second->buckets == oldest->first ? plans_.erase(it) : std::next(it);
  last_ = nullptr;
  slots_.erase(oldest);
}

void Function::refuse_to_compile(const Values& buckets, const Values& symbols) const {
  std::string known;
  for (const Values& each : compiled())
    known += (known.empty() ? "" : ", ") + text_of(each);
  TORCH_CHECK_VALUE(false, "nkipy: '", description.name, "' has no program for ",
                    "sizes ", text_of(symbols), ", which need buckets ",
                    text_of(buckets),
                    ", and may compile none (jit=False): it has those for ",
                    known.empty() ? "no sizes" : known);
}

std::vector<Values> Function::compiled() const {
  std::vector<Values> found;
  for (const auto& [buckets, slot] : slots_) {
    if (slot->variant.is_valid()) found.push_back(buckets);
  }
  return found;
}

}  // namespace spike_torch
