// The C interface, which other extension modules find in a capsule.

#include <algorithm>
#include <limits>

#include "async_execution.h"
#include "bindings.h"
#include "spike.h"
#include "spike_c.h"

namespace nb = nanobind;

// The handles: a share each.
struct SpikeTensor {
  spike::NrtTensor tensor;
};
struct SpikeModel {
  spike::NrtModel model;
};
struct SpikeCall {
  spike::PreparedCall call;
};
struct SpikeExecution {
  std::shared_ptr<spike::AsyncExecution> execution;
};

namespace spike {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBetweenSignals{100};

thread_local std::string last_error;

int fail(int status, const char* text) {
  last_error = text;
  return status;
}

int fail(const nb::python_error& error) {
  nb::gil_scoped_acquire gil;
  nb::handle raised = error.value();
  // NrtError has one.
  nb::object status = nb::getattr(raised, "status", nb::int_(int(SPIKE_ERROR)));
  return fail(nb::cast<int>(nb::int_(status)), nb::str(raised).c_str());
}

/// The status of what `function()` does or throws.
template <class Function>
int guarded(Function function) {
  try {
    function();
    return NRT_SUCCESS;
  } catch (const NrtError& error) {
    return fail(error.status, error.what());
  } catch (const nb::python_error& error) {
    return fail(error);
  } catch (const std::exception& error) {
    return fail(SPIKE_ERROR, error.what());
  }
}

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
  nb::gil_scoped_acquire gil;
  return open_runtime();
}

// ---- The runtime --------------------------------------------------------------------

int open() { return guarded(opened); }

int close() {
  return guarded([] {
    if (auto runtime = NrtRuntime::active()) runtime->close();
  });
}

SpikeState state() {
  if (NrtRuntime::is_parents()) return SPIKE_FORKED;
  return NrtRuntime::active() ? SPIKE_OPEN : SPIKE_CLOSED;
}

int core_count(uint32_t* count) {
  return guarded([&] {
    nb::gil_scoped_acquire gil;
    given(count) = Spike::visible_core_count(*library());
  });
}

int memory_stats(uint32_t core_id, size_t* used, size_t* limit) {
  return guarded(
      [&] { std::tie(given(used), given(limit)) = opened()->memory_stats(core_id); });
}

// ---- Tensors ------------------------------------------------------------------------

int tensor_allocate(size_t size, int core_id, const char* name, SpikeTensor** out) {
  return guarded([&] {
    const char* label = name ? name : "unnamed_tensor";
    put(out, [&] { return NrtTensor::allocate(opened(), size, core_id, label); });
  });
}

int tensor_slice(const SpikeTensor* source, size_t offset, size_t size,
                 SpikeTensor** out) {
  return guarded([&] {
    const NrtTensor& tensor = given(source).tensor;
    put(out, [&] { return tensor.slice(offset, size, tensor.label); });
  });
}

int tensor_info(const SpikeTensor* tensor, SpikeTensorInfo* info) {
  return guarded([&] {
    const NrtTensor& of = given(tensor).tensor;
    given(info) = {of.size, of.core_id, of.is_gone(), of.address()};
  });
}

int tensor_write(SpikeTensor* tensor, size_t offset, const void* data, size_t size) {
  return guarded([&] { given(tensor).tensor.write(data, size, offset); });
}

int tensor_read(const SpikeTensor* tensor, size_t offset, void* data, size_t size) {
  return guarded([&] { given(tensor).tensor.read(data, size, offset); });
}

int tensor_fill(SpikeTensor* tensor, size_t offset, int byte, size_t size) {
  return guarded([&] { given(tensor).tensor.fill(byte, offset, size); });
}

int tensor_copy(const SpikeTensor* source, size_t source_offset, SpikeTensor* target,
                size_t offset, size_t size) {
  return guarded([&] {
    given(target).tensor.copy_from(given(source).tensor, source_offset, offset, size);
  });
}

/// A copy, with a share of its own, of the `Object` that a Python object is.
template <class Object>
Object from_python(PyObject* object) {
  const Object* found = nullptr;
  nb::gil_scoped_acquire gil;
  if (!nb::try_cast(nb::handle(&given(object)), found) || !found)
    throw SpikeError(std::string("expected an object of spike's, got one of ") +
                     nb::type_name(nb::handle(object).type()).c_str());
  return *found;
}

int tensor_from_python(PyObject* nrt_tensor, SpikeTensor** out) {
  return guarded([&] { put(out, [&] { return from_python<NrtTensor>(nrt_tensor); }); });
}

int tensor_to_python(const SpikeTensor* tensor, PyObject** out) {
  return guarded([&] {
    nb::gil_scoped_acquire gil;
    PyObject*& place = given(out);
    place = nb::cast(given(tensor).tensor).release().ptr();
  });
}

// ---- Models and calls ---------------------------------------------------------------

int model_load(const char* neff_file, int core_id, int is_collective, uint32_t rank_id,
               uint32_t world_size, SpikeModel** out) {
  return guarded([&] {
    Placement placement{core_id, is_collective != 0, rank_id, world_size};
    const char* path = &given(neff_file);
    put(out, [&] { return NrtModel::load(opened(), path, placement); });
  });
}

int model_from_python(PyObject* nrt_model, SpikeModel** out) {
  return guarded([&] { put(out, [&] { return from_python<NrtModel>(nrt_model); }); });
}

NamedTensors pins(size_t count, const char* const* names, SpikeTensor* const* tensors) {
  NamedTensors named;
  for (size_t i = 0; i < count; ++i) {
    const NrtTensor& tensor = given(given(tensors + i)).tensor;
    named.emplace_back(&given(names[i]), tensor.pin("Unable to prepare a call"));
  }
  return named;
}

int call_prepare(const SpikeModel* model, size_t input_count,
                 const char* const* input_names, SpikeTensor* const* inputs,
                 size_t output_count, const char* const* output_names,
                 SpikeTensor* const* outputs, SpikeCall** out) {
  return guarded([&] {
    put(out, [&] {
      return PreparedCall{given(model).model, pins(input_count, input_names, inputs),
                          pins(output_count, output_names, outputs)};
    });
  });
}

int call_execute(const SpikeCall* call) {
  return guarded([&] { given(call).call.execute(); });
}

int call_submit(const SpikeCall* call, SpikeExecution** out) {
  return guarded(
      [&] { put(out, [&] { return AsyncExecution::start(given(call).call); }); });
}

/// What is left of the time, as far as it may be waited for at once.
milliseconds part_of(int64_t left) {
  return left < 0 ? kBetweenSignals : std::min(milliseconds(left), kBetweenSignals);
}

int execution_wait(SpikeExecution* execution, int64_t most) {
  using Clock = std::chrono::steady_clock;
  int status = NRT_SUCCESS;
  const auto start = Clock::now();
  int failed = guarded([&] {
    AsyncExecution& waited = *given(execution).execution;
    for (int64_t left = most;;) {
      if (left == 0 ? waited.done() : waited.wait_for(part_of(left)))
        return waited.check_result();
      if (PyGILState_Check() && PyErr_CheckSignals() != 0) status = SPIKE_INTERRUPTED;
      if (left == 0 && status == NRT_SUCCESS) status = SPIKE_NOT_DONE;
      if (status != NRT_SUCCESS) return;
      if (most > 0)
        left = std::max<int64_t>(0, most - (Clock::now() - start) / milliseconds(1));
    }
  });
  return failed != NRT_SUCCESS ? failed : status;
}

const SpikeApi kApi = {
    SPIKE_API_VERSION,
    sizeof(SpikeApi),
    [] { return last_error.c_str(); },
    status_name,
    open,
    close,
    state,
    core_count,
    memory_stats,
    tensor_allocate,
    tensor_slice,
    release<SpikeTensor>,
    tensor_info,
    tensor_write,
    tensor_read,
    tensor_fill,
    tensor_copy,
    tensor_from_python,
    tensor_to_python,
    model_load,
    model_from_python,
    release<SpikeModel>,
    call_prepare,
    call_execute,
    call_submit,
    release<SpikeCall>,
    execution_wait,
    release<SpikeExecution>,
};

}  // namespace

void define_c_interface(nb::module_& m) {
  m.attr("_C_API") = nb::capsule(&kApi, SPIKE_API_CAPSULE);
}

}  // namespace spike
