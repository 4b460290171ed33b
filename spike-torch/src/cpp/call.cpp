// One call of a function: arguments are looked at and bound, or copied where they do
// not lie as the program wants them; it runs; results are cut.

#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <atomic>

#include "memory.h"
#include "programs.h"
#include "statistics.h"
#include "tensors.h"

namespace spike_torch {
namespace {

std::atomic<bool> padding_is_filled{false};

// ---- Arguments ----------------------------------------------------------------------

std::string name_of(const Description& of, size_t argument) {
  std::string text = "argument " + std::to_string(argument);
  if (argument < of.arguments.size() && !of.arguments[argument].empty())
    text += " ('" + of.arguments[argument] + "')";
  return "nkipy: '" + of.name + "': " + text;
}

const at::Tensor& tensor_at(const Description& of, const nb::tuple& arguments,
                            size_t argument) {
  PyObject* object = PyTuple_GET_ITEM(arguments.ptr(), argument);
  TORCH_CHECK_TYPE(THPVariable_Check(object), name_of(of, argument),
                   " is expected to be a tensor, but is of type ",
                   Py_TYPE(object)->tp_name);
  return THPVariable_Unpack(object);
}

nb::tuple checked(const Description& of, nb::handle given) {
  TORCH_CHECK_TYPE(PyList_Check(given.ptr()) || PyTuple_Check(given.ptr()), "nkipy: '",
                   of.name,
                   "' takes a list of its arguments, but received an object of ",
                   Py_TYPE(given.ptr())->tp_name);
  nb::tuple arguments = nb::steal<nb::tuple>(PySequence_Tuple(given.ptr()));
  const size_t count = nb::len(arguments);
  TORCH_CHECK_TYPE(count == of.arguments.size(), "nkipy: '", of.name, "' takes ",
                   of.arguments.size(), " arguments, but received ", count);
  return arguments;
}

int64_t number_at(const Description& of, const nb::tuple& arguments, size_t argument) {
  PyObject* object = PyTuple_GET_ITEM(arguments.ptr(), argument);
  TORCH_CHECK_TYPE(PyLong_Check(object), name_of(of, argument),
                   " is expected to be an int, but is of type ",
                   Py_TYPE(object)->tp_name);
  const long long value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) throw nb::python_error();
  return value;
}

int64_t read_symbol(const Description& of, const nb::tuple& arguments,
                    const Symbol& symbol) {
  if (symbol.dimension < 0) return number_at(of, arguments, symbol.argument);
  const at::Tensor& tensor = tensor_at(of, arguments, symbol.argument);
  TORCH_CHECK_VALUE(symbol.dimension < tensor.dim(), name_of(of, symbol.argument),
                    " has ", tensor.dim(), " dimensions: dimension ", symbol.dimension,
                    " is expected to be ", symbol.name);
  return tensor.size(symbol.dimension);
}

}  // namespace

Values read_symbols(const Description& of, const nb::tuple& arguments) {
  Values values;
  for (const Symbol& symbol : of.symbols)
    values.push_back(read_symbol(of, arguments, symbol));
  return values;
}

void set_padding_filled(bool is_filled) { padding_is_filled = is_filled; }

namespace {

// From so many bytes on, what is on the CPU is used where it lies. Below, to copy it
// takes less than to prepare a call for an address that is seldom the same.
constexpr size_t kMuch = 1 << 18;

// How often a program is loaded for a call, that others unload meanwhile.
constexpr int kMostLoads = 8;

// Whether any program was.
bool unload_idle() {
  const nb::gil_scoped_acquire locked;
  const nb::object loaded =
      nb::module_::import_("nkipy.execution.residency").attr("LOADED");
  return nb::cast<int>(loaded.attr("evict")()) > 0;
}

// ---- A call -------------------------------------------------------------------------

/// Which bytes of which device a tensor's elements lie in.
struct Extent {
  c10::Device device;
  uintptr_t begin, end;
  size_t input;

  Extent(const at::Tensor& tensor, size_t input)
      : device(tensor.device()), input(input) {
    const auto [first, size] = range_of(tensor);
    begin = reinterpret_cast<uintptr_t>(tensor.storage().data()) + first;
    end = begin + size;
  }
  bool operator<(const Extent& other) const {
    const bool is_on_cpu = device.is_cpu();  // there is one core beside it
    if (is_on_cpu != other.device.is_cpu()) return is_on_cpu;
    return std::pair(begin, input) < std::pair(other.begin, other.input);
  }
  /// With one that comes after it.
  bool overlaps(const Extent& other) const {
    return device == other.device && other.begin < end;
  }
};

/// With Python's lock: `look` and `wrap`. Without: the others.
class Call {
 public:
  Call(const Description& of, const Plan& plan, const nb::tuple& arguments,
       bool bumps_versions)
      : of_(of),
        plan_(plan),
        arguments_(arguments),
        bumps_versions_(bumps_versions),
        inputs_(of.inputs.size()),
        parts_(plan.part_count) {}

  void look();
  bool first_is_on_cpu() const { return first_is_on_cpu_; }
  void bind(bool to_cpu);
  void run();
  void profile(const std::string& file);
  void finish();
  nb::list wrap() const;
  Execution& times() { return times_; }

 private:
  struct Input {
    const at::Tensor* argument = nullptr;  // none: the sizes
    at::Tensor permuted;                   // as the program has its dimensions
    bool is_in_place = false;
    c10::Storage bucket;  // what it is copied to, if it is not

    const at::Tensor& tensor() const {
      return permuted.defined() ? permuted : *argument;
    }
  };

  void require_device(size_t argument, const at::Tensor& tensor);
  void require_sizes(size_t argument, const at::Tensor& tensor, const Geometry& as);
  void require_dense(size_t argument, const at::Tensor& tensor) const;
  bool fits(const at::Tensor& tensor, const InputSpec& spec, const Geometry& as) const;
  void look_at(size_t i);
  void permute(size_t i, size_t argument);
  void separate();
  void separate(size_t one, size_t other);
  void copy_in(size_t i);
  void write_sizes(size_t i);
  void bind_all();
  void bind_input(size_t i);
  void bind_result(size_t i);
  void set_part(size_t part, const c10::Storage& storage, size_t offset, size_t size);
  int execute();
  std::shared_ptr<const PreparedCall> prepared();
  int prepare(const PreparedCall* like, std::shared_ptr<const PreparedCall>* made);
  [[noreturn]] void fail(int status) const;
  void update_arguments();

  const Description& of_;
  const Plan& plan_;
  const nb::tuple& arguments_;
  const bool bumps_versions_;
  c10::SmallVector<Input, 20> inputs_;
  c10::SmallVector<c10::Storage, 4> results_;
  c10::SmallVector<at::Tensor, 4> returned_;
  Parts parts_;
  const bool is_host_ = memory_is_host();
  bool first_is_on_cpu_ = false, to_cpu_ = false;
  Execution times_{};
};

void Call::require_device(size_t argument, const at::Tensor& tensor) {
  const c10::Device device = tensor.device();
  if (device.is_cpu()) return;
  TORCH_CHECK(device.is_privateuseone(), name_of(of_, argument), " is on ", device,
              ": tensors are expected on nkipy:", static_cast<int>(of_.core),
              " or on the CPU");
  TORCH_CHECK(device.index() == of_.core,
              "Expected all tensors to be on the same device, but found at least two "
              "devices, nkipy:",
              static_cast<int>(of_.core), " and ", device, "! (",
              name_of(of_, argument),
              " of a program on nkipy:", static_cast<int>(of_.core), ")");
}

void Call::require_dense(size_t argument, const at::Tensor& tensor) const {
  TORCH_CHECK(
      tensor.layout() == at::kStrided && tensor.has_storage() &&
          (tensor.numel() == 0 || tensor.storage().data()),
      name_of(of_, argument),
      " has no elements in memory: it is sparse, fake, or of a function that is "
      "traced or transformed");
  require_storage(tensor);
}

void Call::require_sizes(size_t argument, const at::Tensor& tensor,
                         const Geometry& as) {
  const at::IntArrayRef sizes = tensor.sizes();
  if (sizes == at::IntArrayRef(as.exact) || sizes == at::IntArrayRef(as.padded)) return;
  TORCH_CHECK_VALUE(sizes.size() == as.exact.size(), name_of(of_, argument),
                    " has shape ", sizes, ": expected ", as.exact.size(),
                    " dimensions, ", at::IntArrayRef(as.exact));
  if (as.is_whole) {
    TORCH_CHECK_VALUE(false, name_of(of_, argument), " has shape ", sizes,
                      ": expected ", at::IntArrayRef(as.exact));
  }
  TORCH_CHECK_VALUE(false, name_of(of_, argument), " has shape ", sizes, ": expected ",
                    at::IntArrayRef(as.exact), ", or padded ",
                    at::IntArrayRef(as.padded));
}

// Whether a tensor, with its dimensions permuted, is row-major and of some sizes.
bool is_row_major(const c10::TensorImpl& impl, const Values& permutation,
                  const Values& sizes) {
  if (permutation.empty())
    return impl.is_contiguous() && impl.sizes() == at::IntArrayRef(sizes);
  if (impl.dim() != static_cast<int64_t>(sizes.size())) return false;
  int64_t stride = 1;
  for (size_t k = sizes.size(); k-- > 0;) {
    const auto own = static_cast<size_t>(permutation[k]);
    if (impl.sizes()[own] != sizes[k] ||
        (sizes[k] != 1 && impl.strides()[own] != stride))
      return false;
    stride *= sizes[k];
  }
  return true;
}

// Whether the program can use it where it is: then nothing is wrong with it.
bool Call::fits(const at::Tensor& tensor, const InputSpec& spec,
                const Geometry& as) const {
  const c10::TensorImpl& impl = *tensor.unsafeGetTensorImpl();
  if (!impl.has_storage() || impl.layout() != at::kStrided) return false;
  const c10::Device device = impl.device();
  const bool is_reached = device.is_privateuseone() ? device.index() == of_.core
                                                    : device.is_cpu() && is_host_;
  if (!is_reached || tensor.scalar_type() != spec.dtype || impl.is_conj() ||
      impl.is_neg() || !is_row_major(impl, spec.permutation, as.padded))
    return false;
  const c10::Storage& storage = impl.unsafe_storage();
  const size_t offset = static_cast<size_t>(impl.storage_offset()) * impl.itemsize();
  return storage.data() && offset + as.padded_bytes <= storage.nbytes();
}

void Call::permute(size_t i, size_t argument) {
  const Values& permutation = of_.inputs[i].permutation;
  const at::Tensor& tensor = *inputs_[i].argument;
  TORCH_CHECK_VALUE(tensor.dim() == static_cast<int64_t>(permutation.size()),
                    name_of(of_, argument), " has shape ", tensor.sizes(),
                    ": expected ", permutation.size(), " dimensions");
  const at::AutoDispatchBelowADInplaceOrView no_autograd;
  inputs_[i].permuted = tensor.permute(permutation);
}

void Call::look_at(size_t i) {
  const InputSpec& spec = of_.inputs[i];
  const auto argument = static_cast<size_t>(spec.argument);
  const at::Tensor& tensor = tensor_at(of_, arguments_, argument);
  const Geometry& as = plan_.inputs[i];
  inputs_[i].argument = &tensor;
  if (spec.argument == of_.first_tensor) first_is_on_cpu_ = tensor.is_cpu();
  // What others have a lazy copy of becomes the tensor's own.
  if (spec.is_written && tensor.defined() && tensor.is_cpu() && tensor.has_storage())
    tensor.storage().mutable_data();
  if (as.padded_bytes != 0 && fits(tensor, spec, as)) {
    inputs_[i].is_in_place = !tensor.is_cpu() || as.padded_bytes >= kMuch ||
                             plan_.variant->was_last_at(i, tensor.const_data_ptr());
    return;
  }
  TORCH_CHECK(tensor.defined(), name_of(of_, argument), " is undefined");
  require_device(argument, tensor);
  TORCH_CHECK(tensor.scalar_type() == spec.dtype, name_of(of_, argument), " is of ",
              tensor.scalar_type(), ": expected ", spec.dtype);
  require_dense(argument, tensor);
  if (!spec.permutation.empty()) permute(i, argument);
  require_sizes(argument, inputs_[i].tensor(), as);
}

// Looks at all arguments, before anything is done.
void Call::look() {
  for (size_t i = 0; i < of_.inputs.size(); ++i) {
    if (of_.inputs[i].argument >= 0) look_at(i);
  }
}

// What is read is what was there before: who shares memory with what is written has a
// copy. Two that are written cannot both be.
void Call::separate() {
  c10::SmallVector<Extent, 24> extents;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].argument && inputs_[i].argument->numel() != 0)
      extents.emplace_back(*inputs_[i].argument, i);
  }
  std::sort(extents.begin(), extents.end());
  for (auto one = extents.begin(); one != extents.end(); ++one) {
    for (auto other = one + 1; other != extents.end() && one->overlaps(*other); ++other)
      separate(one->input, other->input);
  }
}

void Call::separate(size_t one, size_t other) {
  const InputSpec &first = of_.inputs[one], &second = of_.inputs[other];
  if (!first.is_written && !second.is_written) return;
  TORCH_CHECK_VALUE(!first.is_written || !second.is_written,
                    name_of(of_, static_cast<size_t>(first.argument)), " and argument ",
                    second.argument, " share memory, and both are written into");
  inputs_[first.is_written ? other : one].is_in_place = false;
}

void Call::copy_in(size_t i) {
  const Clock::time_point start = Clock::now();
  const InputSpec& spec = of_.inputs[i];
  if (!spec.permutation.empty() && !inputs_[i].permuted.defined())
    permute(i, static_cast<size_t>(spec.argument));
  const at::Tensor& tensor = inputs_[i].tensor();
  const Geometry& as = plan_.inputs[i];
  inputs_[i].bucket = core_storage(as.padded_bytes, of_.core);
  if (!as.is_whole && tensor.sizes() == at::IntArrayRef(as.padded)) {
    tensor_on(inputs_[i].bucket, tensor.scalar_type(), as.padded, as.padded_strides)
        .copy_(tensor);
  } else {
    pad_into(inputs_[i].bucket, tensor, as, of_.pads_on_device,
             padding_is_filled.load(std::memory_order_relaxed));
  }
  times_.h2d_ms += milliseconds(Clock::now() - start);
}

void Call::write_sizes(size_t i) {
  c10::SmallVector<int32_t, 8> sizes;
  for (int64_t size : plan_.symbols) {
    TORCH_CHECK_VALUE(size == static_cast<int32_t>(size), "nkipy: '", of_.name,
                      "': a size is ", size, ", which has more than 32 bits");
    sizes.push_back(static_cast<int32_t>(size));
  }
  const size_t bytes = sizes.size() * sizeof(int32_t);
  inputs_[i].bucket = core_storage(bytes, of_.core);
  const Memory memory = memory_of(inputs_[i].bucket.data_ptr());
  check(spike().tensor_write(memory.tensor, memory.offset, sizes.data(), bytes),
        "write sizes");
}

void Call::set_part(size_t part, const c10::Storage& storage, size_t offset,
                    size_t size) {
  if (storage.device_type() == c10::DeviceType::CPU) {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    parts_[part] = {nullptr, 0, address + offset, size};
    return;
  }
  const Memory memory = memory_of(storage.data_ptr());
  parts_[part] = {memory.tensor, memory.offset + offset, memory.address + offset, size};
}

void Call::bind_input(size_t i) {
  const size_t size = plan_.inputs[i].padded_bytes, part = plan_.input_parts[i];
  if (size == 0) return;
  if (inputs_[i].is_in_place) {
    const c10::TensorImpl& impl = *inputs_[i].argument->unsafeGetTensorImpl();
    const auto offset = static_cast<size_t>(impl.storage_offset()) * impl.itemsize();
    set_part(part, impl.unsafe_storage(), offset, size);
    return;
  }
  if (inputs_[i].argument) {
    copy_in(i);
  } else {
    write_sizes(i);
  }
  set_part(part, inputs_[i].bucket, 0, size);
}

void Call::bind_result(size_t i) {
  const size_t size = plan_.results[i].padded_bytes, part = plan_.result_parts[i];
  const int64_t input = of_.results[i].input;
  results_.emplace_back();
  if (input < 0) {
    results_.back() = to_cpu_ && is_host_ && size >= kMuch
                          ? host_storage(size)
                          : core_storage(size, of_.core);
    if (size != 0) set_part(part, results_.back(), 0, size);
  } else if (size != 0) {
    parts_[part] = parts_[plan_.input_parts[static_cast<size_t>(input)]];
  }
}

// Finds or makes memory for all that the program takes and gives. Where there is too
// little, programs that are idle make room.
void Call::bind(bool to_cpu) {
  to_cpu_ = to_cpu;
  if (of_.writes) separate();
  try {
    bind_all();
  } catch (const c10::OutOfMemoryError&) {
    results_.clear();
    for (Input& input : inputs_) input.bucket = {};
    if (!unload_idle()) throw;
    bind_all();
  }
}

void Call::bind_all() {
  for (size_t i = 0; i < inputs_.size(); ++i) bind_input(i);
  for (size_t i = 0; i < of_.results.size(); ++i) bind_result(i);
}

// ---- Executing ----------------------------------------------------------------------

std::shared_ptr<const PreparedCall> Call::prepared() {
  Variant& variant = *plan_.variant;
  if (auto known = variant.calls.find(parts_)) return known;
  const nb::gil_scoped_acquire locked;
  std::shared_ptr<const PreparedCall> made;
  int status = prepare(variant.calls.last().get(), &made);
  // The runtime was reset, perhaps: the model has to be loaded again.
  for (int loads = 0; status == SPIKE_ERROR && loads < kMostLoads; ++loads) {
    variant.release();
    status = prepare(nullptr, &made);
  }
  if (status != SPIKE_NRT_SUCCESS) fail(status);
  variant.calls.add(made);
  return made;
}

int Call::prepare(const PreparedCall* like, std::shared_ptr<const PreparedCall>* made) {
  Variant& variant = *plan_.variant;
  SpikeModel* model = nullptr;
  int status = spike().model_from_python(variant.loaded(plan_.object).ptr(), &model);
  if (status == SPIKE_NRT_SUCCESS)
    status = PreparedCall::make(model, of_.core, variant.names(),
                                plan_.input_part_count, parts_, like, made);
  spike().model_release(model);
  return status;
}

void Call::fail(int status) const {
  const std::string why = spike().last_error();
  const nb::gil_scoped_acquire locked;
  nb::module_::import_("spike_torch.programs")
      .attr("_raise_failure")(status, "nkipy: '" + of_.name + "': " + why);
  TORCH_CHECK(false, why);
}

int Call::execute() {
  const Clock::time_point start = Clock::now();
  const int status = prepared()->execute();
  times_.run_ms += milliseconds(Clock::now() - start);
  return status;
}

void Call::run() {
  int status = execute();
  // It was prepared for what is gone; another thread may unload it once more meanwhile.
  for (int loads = 0; status == SPIKE_ERROR && loads < kMostLoads; ++loads) {
    {
      const nb::gil_scoped_acquire locked;
      plan_.variant->release();
    }
    status = execute();
  }
  // What may have written already is not done twice.
  if (status == SPIKE_NRT_RESOURCE && !of_.writes) {
    for (Pool* pool : used_pools()) pool->trim(0);
    status = execute();
  }
  if (status != SPIKE_NRT_SUCCESS) fail(status);
}

void Call::profile(const std::string& file) {
  const nb::gil_scoped_acquire locked;
  plan_.variant->profiled(plan_.object, of_.core, parts_, plan_.input_part_count, file);
}

// What was written into copies of arguments becomes theirs.
void Call::update_arguments() {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!of_.inputs[i].is_written) continue;
    const Geometry& as = plan_.inputs[i];
    const at::Tensor& tensor = inputs_[i].tensor();
    const c10::Storage& bucket = inputs_[i].bucket;
    if (bucket && tensor.sizes() == at::IntArrayRef(as.padded)) {
      tensor.copy_(
          tensor_on(bucket, tensor.scalar_type(), as.padded, as.padded_strides));
    } else if (bucket) {
      cut_into(tensor, bucket, as);
    }
    const at::Tensor& argument = *inputs_[i].argument;
    if (bumps_versions_ && !argument.is_inference())
      argument.unsafeGetTensorImpl()->bump_version();
  }
}

void Call::finish() {
  const Clock::time_point start = Clock::now();
  if (of_.writes) update_arguments();
  for (const ReturnSpec& spec : of_.returns) {
    if (spec.kind != ReturnSpec::Kind::kResult) continue;
    const Cut how{spec.is_padded, spec.is_copied, to_cpu_};
    at::Tensor result = cut_result(results_[spec.index], of_.results[spec.index].dtype,
                                   plan_.results[spec.index], how);
    if (!spec.permutation.empty()) result = result.permute(spec.permutation);
    returned_.push_back(std::move(result));
  }
  if (to_cpu_) times_.d2h_ms += milliseconds(Clock::now() - start);
}

nb::list Call::wrap() const {
  nb::list all;
  size_t result = 0;
  for (size_t i = 0; i < of_.returns.size(); ++i) {
    const ReturnSpec& spec = of_.returns[i];
    switch (spec.kind) {
      case ReturnSpec::Kind::kResult:
        all.append(nb::steal(THPVariable_Wrap(returned_[result++])));
        break;
      case ReturnSpec::Kind::kArgument:
        all.append(arguments_[spec.index]);
        break;
      case ReturnSpec::Kind::kNumber:
        all.append(nb::int_(plan_.numbers[i]));
        break;
      default:
        all.append(nb::none());
    }
  }
  return all;
}

/// The program stays loaded.
class Entered {
 public:
  explicit Entered(Variant& variant) : variant_(variant) { variant.lock.enter(); }
  ~Entered() { variant_.lock.leave(); }
  Entered(const Entered&) = delete;

 private:
  Variant& variant_;
};

void forget_failures() {
  static PyObject* const module =
      nb::module_::import_("nkipy.hlo.run_errors").release().ptr();
  static PyObject* const has_noted = PyUnicode_InternFromString("has_noted");
  const nb::object noted = nb::steal(PyObject_GetAttr(module, has_noted));
  if (noted.ptr() == Py_True) nb::handle(module).attr("forget")();
}

}  // namespace

nb::list call(Function& function, nb::handle given, const CallOptions& options) {
  require_not_forked();
  const Clock::time_point start = Clock::now();
  const Description& of = function.description;
  const nb::tuple arguments = checked(of, given);
  const std::shared_ptr<const Plan> plan =
      function.plan(options.sizes ? *options.sizes : read_symbols(of, arguments));
  Call call(of, *plan, arguments, options.bumps_versions);
  call.look();
  const bool to_cpu =
      options.to_cpu.value_or(call.first_is_on_cpu() && !of.keeps_outputs_on_device);
  const Entered entered(*plan->variant);
  plan->variant->note_use();
  forget_failures();
  {
    const nb::gil_scoped_release released;
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    call.bind(to_cpu);
    if (options.profile) {
      call.profile(*options.profile);
    } else {
      call.run();
    }
    call.finish();
  }
  nb::list results = call.wrap();
  Execution& times = call.times();
  times.buckets = &plan->buckets;
  times.pad_ratio = plan->pad_ratio;
  times.total_ms = milliseconds(Clock::now() - start);
  if (of.is_counted) count_execution(times);
  return results;
}

}  // namespace spike_torch
