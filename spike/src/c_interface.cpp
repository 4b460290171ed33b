// The C interface, which other extension modules find in a capsule.

#include "async_execution.h"
#include "bindings.h"
#include "spike_c.h"

// The handles: a share each.
struct SpikeTensor : spike::NrtTensor {};
struct SpikeModel : spike::NrtModel {};
struct SpikeCall : spike::PreparedCall {};
struct SpikeExecution : std::shared_ptr<spike::AsyncExecution> {};

namespace spike {

NrtTensor attach(const NrtRuntime::Lease& runtime, void* data, size_t size, int core) {
  Use nrt(runtime, "Unable to attach memory");
  nrt_tensor_t* tensor = nullptr;
  check(nrt->nrt_tensor_allocate_empty("attached", &tensor),
        "Failed to allocate tensor");
  int status = nrt->nrt_tensor_attach_buffer(tensor, data, size);
  if (status != NRT_SUCCESS) nrt->nrt_tensor_free(&tensor);
  check(status, "Failed to attach memory");
  // Allocations of the device's have others.
  static std::atomic<uint64_t> attached{uint64_t{1} << 63};
  return {runtime, {core, ++attached, 0, size}, "attached", tensor};
}

namespace {

thread_local std::string last_error;

int fail(int status, const char* text) noexcept {
  try {
    last_error = text;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status;
}

/// A Python exception, with the lock held: its status and text, of which it may raise
/// in turn when it is asked for them.
struct Raised {
  explicit Raised(const nb::python_error& error) {
    try {
      nb::handle raised = error.value();
      text = nb::str(raised).c_str();
      // NrtError has one.
      nb::object own = nb::getattr(raised, "status", nb::int_(status));
      status = nb::cast<int>(nb::int_(own));
    } catch (const std::exception&) {
    }
  }
  int status = SPIKE_ERROR;
  std::string text = "a Python exception that cannot be shown";
};

/// Does something with Python's lock, in a thread that may or may not hold it. Throws
/// Raised for what Python raises.
template <class Action>
auto with_gil(Action action) {
  struct Held {
    const PyGILState_STATE state = or_stop(PyGILState_Ensure);
    ~Held() { PyGILState_Release(state); }
  } held;
  return or_stop([&] {
    try {
      return action();
    } catch (const nb::python_error& error) {
      throw Raised(error);
    }
  });
}

/// A function as C calls it: the status that it returns, or of what it throws.
template <auto function>
struct Guarded;
template <class Result, class... Arguments, Result (*function)(Arguments...)>
struct Guarded<function> {
  static int call(Arguments... arguments) noexcept {
    try {
      if constexpr (!std::is_void_v<Result>)
        return function(arguments...);
      else
        function(arguments...);
      return NRT_SUCCESS;
    } catch (const NrtError& error) {
      return fail(error.status, error.what());
    } catch (const Raised& raised) {
      return fail(raised.status, raised.text.c_str());
    } catch (const nb::python_error& error) {  // of a handler of signals
      const Raised raised(error);
      return fail(raised.status, raised.text.c_str());
    } catch (const std::exception& error) {
      return fail(SPIKE_ERROR, error.what());
    } catch (...) {
      return fail(SPIKE_ERROR, "an exception that is none of std's");
    }
  }
};
template <auto function>
constexpr auto guarded = Guarded<function>::call;

template <class Pointer>
auto& given(Pointer pointer) {
  if (!pointer) throw SpikeError("a null pointer was passed to the C interface");
  return *pointer;
}

/// Where a handle is to be put, looked at before there is one that could be lost.
template <class Handle, class Make>
void put(Handle** out, Make make) {
  Handle*& place = given(out);
  place = new Handle{make()};
}

template <class Handle>
void release(Handle* handle) {
  delete handle;
}

NrtRuntime::Lease opened() {
  if (auto runtime = NrtRuntime::active()) return runtime;
  return with_gil(open_runtime);
}

// ---- The runtime --------------------------------------------------------------------

void open() { opened(); }

SpikeState state() {
  if (NrtRuntime::is_parents()) return SPIKE_FORKED;
  return NrtRuntime::active() ? SPIKE_OPEN : SPIKE_CLOSED;
}

void core_count(uint32_t* count) {
  given(count) = Spike::visible_core_count(*with_gil(library));
}

void memory_stats(uint32_t core_id, size_t* used, size_t* limit) {
  std::tie(given(used), given(limit)) = opened()->memory_stats(core_id);
}

// ---- Tensors ------------------------------------------------------------------------

void tensor_allocate(size_t size, int core_id, const char* name, SpikeTensor** out) {
  const char* label = name ? name : "unnamed_tensor";
  put(out, [&] { return NrtTensor::allocate(opened(), size, core_id, label); });
}

void tensor_slice(const SpikeTensor* source, size_t offset, size_t size,
                  SpikeTensor** out) {
  const NrtTensor& tensor = given(source);
  put(out, [&] { return tensor.slice(offset, size, tensor.label); });
}

void tensor_info(const SpikeTensor* tensor, SpikeTensorInfo* info) {
  const NrtTensor& of = given(tensor);
  given(info) = {of.size, of.core_id, of.is_gone(), of.address()};
}

void tensor_write(SpikeTensor* tensor, size_t offset, const void* data, size_t size) {
  given(tensor).write(data, size, offset);
}

void tensor_read(const SpikeTensor* tensor, size_t offset, void* data, size_t size) {
  given(tensor).read(data, size, offset);
}

void tensor_fill(SpikeTensor* tensor, size_t offset, int byte, size_t size) {
  given(tensor).fill(byte, offset, size);
}

void tensor_copy(const SpikeTensor* source, size_t source_offset, SpikeTensor* target,
                 size_t offset, size_t size) {
  given(target).copy_from(given(source), source_offset, offset, size);
}

constexpr char kNoAccess[] = "Unable to use a tensor's memory";

void memory_is_host(int* is_host) {
  given(is_host) = static_cast<bool>(with_gil(library)->nkipy_emulator_last_error);
}

void tensor_enter(const SpikeTensor* tensor) {
  const TensorPin pin = given(tensor).pin(kNoAccess);
  if (!pin->runtime->enter()) pin->runtime->require_open(kNoAccess);
}

void tensor_leave(const SpikeTensor* tensor) {
  if (const TensorPin pin = tensor->peek()) pin->runtime->leave();
}

void tensor_attach(void* data, size_t size, int core_id, SpikeTensor** out) {
  given(static_cast<char*>(data));
  put(out, [&] { return attach(opened(), data, size, core_id); });
}

/// Puts a copy, with a share of its own, of the `Object` that a Python object is.
template <class Object, class Handle>
void from_python(PyObject* object, Handle** out) {
  put(out, [&]() -> Object {
    return with_gil([&] {
      const Object* found = nullptr;
      if (!nb::try_cast(nb::handle(&given(object)), found) || !found)
        throw SpikeError(std::string("expected an object of spike's, got one of ") +
                         nb::type_name(nb::handle(object).type()).c_str());
      return *found;
    });
  });
}

void tensor_to_python(const SpikeTensor* tensor, PyObject** out) {
  PyObject*& place = given(out);
  place = with_gil([&] {
    return nb::cast<const NrtTensor&>(given(tensor), nb::rv_policy::copy)
        .release()
        .ptr();
  });
}

// ---- Models and calls ---------------------------------------------------------------

void model_load(const char* neff_file, int core_id, int is_collective, uint32_t rank_id,
                uint32_t world_size, SpikeModel** out) {
  Placement placement{core_id, is_collective != 0, rank_id, world_size};
  const char* path = &given(neff_file);
  put(out, [&] { return NrtModel::load(opened(), path, placement); });
}

NamedTensors pins(size_t count, const char* const* names, SpikeTensor* const* tensors) {
  NamedTensors named;
  for (size_t i = 0; i < count; ++i) {
    const NrtTensor& tensor = given(given(tensors + i));
    named.emplace_back(&given(names[i]), tensor.pin("Unable to prepare a call"));
  }
  return named;
}

void call_prepare(const SpikeModel* model, size_t input_count,
                  const char* const* input_names, SpikeTensor* const* inputs,
                  size_t output_count, const char* const* output_names,
                  SpikeTensor* const* outputs, SpikeCall** out) {
  put(out, [&] {
    return PreparedCall{PinnedCall::make(given(model),
                                         pins(input_count, input_names, inputs),
                                         pins(output_count, output_names, outputs))};
  });
}

void call_execute(const SpikeCall* call) { given(call).pin().execute(); }

void call_submit(const SpikeCall* call, SpikeExecution** out) {
  put(out, [&] { return AsyncExecution::start(given(call).pin()); });
}

int execution_wait(SpikeExecution* execution, int64_t milliseconds) try {
  bool is_done = given(execution)->wait(milliseconds);
  return is_done ? SPIKE_NRT_SUCCESS
                 : fail(SPIKE_NOT_DONE, "the execution is not done yet");
} catch (nb::python_error& raised) {
  raised.restore();
  return fail(SPIKE_INTERRUPTED, "a signal's handler raised: see Python's error");
}

const char* name_of_status(int status) {
  const char* own[] = {"SPIKE_ERROR", "SPIKE_NOT_DONE", "SPIKE_INTERRUPTED"};
  bool is_own = SPIKE_INTERRUPTED <= status && status <= SPIKE_ERROR;
  return is_own ? own[SPIKE_ERROR - status] : status_name(status);
}

const SpikeApi kApi = {
    SPIKE_API_VERSION,
    sizeof(SpikeApi),
    [] { return last_error.c_str(); },
    name_of_status,
    guarded<open>,
    guarded<close_runtime>,
    state,
    guarded<core_count>,
    guarded<memory_stats>,
    guarded<tensor_allocate>,
    guarded<tensor_slice>,
    release<SpikeTensor>,
    guarded<tensor_info>,
    guarded<tensor_write>,
    guarded<tensor_read>,
    guarded<tensor_fill>,
    guarded<tensor_copy>,
    guarded<from_python<NrtTensor, SpikeTensor>>,
    guarded<tensor_to_python>,
    guarded<model_load>,
    guarded<from_python<NrtModel, SpikeModel>>,
    release<SpikeModel>,
    guarded<call_prepare>,
    guarded<call_execute>,
    guarded<call_submit>,
    release<SpikeCall>,
    guarded<execution_wait>,
    release<SpikeExecution>,
    guarded<memory_is_host>,
    guarded<tensor_enter>,
    tensor_leave,
    guarded<tensor_attach>,
};

}  // namespace

void define_c_interface(nb::module_& m) {
  m.attr("_C_API") = nb::capsule(&kApi, SPIKE_API_CAPSULE);
}

}  // namespace spike
