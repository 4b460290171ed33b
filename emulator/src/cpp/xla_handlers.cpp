// What the XLA engine needs below Python: the custom calls that compiled modules make,
// and the call path that hands NumPy arrays to an XLA executable.
//
// A compiled module has one parameter more than the program: the *call vector*,
// u64[2+n]. Word 0 points to the CallState of the running call, words 1..n say where
// the results go, the last is zero (exact.py says what for). Its root is the custom
// call `nkipy_store`, which copies every result there; so a warm call creates no array
// object. Because the store is the one root, it runs after every reader of an input
// that a result overwrites.
//
// Only CPython's stable ABI is used: one binary serves every Python from 3.10 on. NumPy
// is reached through its `__array_struct__` protocol, which knows every dtype
// (ml_dtypes have no buffer protocol) and needs no headers.

#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030A0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr size_t kAlignment = 64;  // XLA's own requirement on argument memory
constexpr size_t kMaxImports = 4096;
constexpr size_t kReleaseGilFrom = size_t{1} << 20;
constexpr size_t kMaxPooledBytes = size_t{64} << 20;
constexpr char kTargetCapsule[] = "xla._CUSTOM_CALL_TARGET";

// ---------------------------------------------------------------- owned references

struct Ref {  // a strong reference; to be used with the GIL held
  PyObject* object = nullptr;
  Ref() = default;
  explicit Ref(PyObject* stolen) : object(stolen) {}
  Ref(Ref&& other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  Ref(const Ref&) = delete;
  ~Ref() { Py_XDECREF(object); }
  PyObject* get() const { return object; }
  PyObject* release() { return std::exchange(object, nullptr); }
  explicit operator bool() const { return object != nullptr; }
};

struct Free {
  void operator()(void* p) const { free(p); }
};
using Memory = std::unique_ptr<void, Free>;

Memory allocate(size_t nbytes) {
  size_t rounded = (nbytes + kAlignment) / kAlignment * kAlignment;
  void* p = aligned_alloc(kAlignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
  return Memory(p);
}

// ---------------------------------------------------------------- one running call

struct CallState {
  bool failed = false;        // guarded by the GIL for writers
  bool overlap = false;       // a result may overwrite an input that is read in place
  PyObject* error = nullptr;  // the first exception of a Python handler
};

struct Span {
  uintptr_t begin = 0;
  size_t size = 0;
  uintptr_t end() const { return begin + size; }
  bool overlaps(const Span& o) const { return begin < o.end() && o.begin < end(); }
};

Span span_of(const void* p, size_t n) { return {reinterpret_cast<uintptr_t>(p), n}; }

// ---------------------------------------------------------------- custom calls of XLA

// Copies results of which some lie in memory that another result is written to (swapped
// parameters, for example). Those are copied aside first.
void store_overlapping(const std::vector<Span>& from, const uint64_t* to) {
  std::vector<Memory> aside(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    for (size_t j = 0; j < from.size(); ++j) {
      if (i == j || !from[i].overlaps({to[j], from[j].size})) continue;
      aside[i] = allocate(from[i].size);
      memcpy(aside[i].get(), reinterpret_cast<void*>(from[i].begin), from[i].size);
      break;
    }
  }
  for (size_t i = 0; i < from.size(); ++i) {
    void* source = aside[i] ? aside[i].get() : reinterpret_cast<void*>(from[i].begin);
    memmove(reinterpret_cast<void*>(to[i]), source, from[i].size);
  }
}

ffi::Error store(ffi::RemainingArgs args, ffi::Result<ffi::AnyBuffer> done) {
  size_t n = args.size() - 1;
  auto vector = args.get<ffi::AnyBuffer>(n);
  if (vector->element_count() != n + 2) {
    return ffi::Error(ffi::ErrorCode::kInternal, "store: call vector of wrong length");
  }
  const auto* words = static_cast<const uint64_t*>(vector->untyped_data());
  const auto* state = reinterpret_cast<const CallState*>(words[0]);
  *static_cast<uint8_t*>(done->untyped_data()) = 1;
  if (state->failed) return ffi::Error::Success();
  std::vector<Span> aliased;
  for (size_t i = 0; i < n; ++i) {
    auto buffer = args.get<ffi::AnyBuffer>(i);
    size_t size = buffer->size_bytes();
    if (state->overlap) {
      aliased.push_back(span_of(buffer->untyped_data(), size));
    } else if (size != 0) {
      memcpy(reinterpret_cast<void*>(words[i + 1]), buffer->untyped_data(), size);
    }
  }
  if (state->overlap) store_overlapping(aliased, words + 1);
  return ffi::Error::Success();
}

constexpr int kRead = 0x100, kWrite = 0x200;  // PyBUF_*, in the stable ABI from 3.11

PyObject* python_hook = nullptr;       // hook(id, inputs, outputs) with memoryviews
PyObject* error_translator = nullptr;  // what a RuntimeError of XLA's becomes

Ref view_of(void* data, size_t size, int flags) {
  static char nothing;  // a memoryview needs an address even when it is empty
  char* p = size == 0 ? &nothing : static_cast<char*>(data);
  return Ref(PyMemoryView_FromMemory(p, static_cast<Py_ssize_t>(size), flags));
}

bool append(PyObject* list, Ref item) {
  return item && PyList_Append(list, item.get()) == 0;
}

bool call_hook(int64_t id, ffi::RemainingArgs& args, size_t nargs,
               ffi::RemainingRets& rets) {
  Ref inputs(PyList_New(0)), outputs(PyList_New(0)), number(PyLong_FromLongLong(id));
  if (!inputs || !outputs || !number) return false;
  for (size_t i = 0; i < nargs; ++i) {
    auto b = args.get<ffi::AnyBuffer>(i);
    if (!append(inputs.get(), view_of(b->untyped_data(), b->size_bytes(), kRead)))
      return false;
  }
  for (size_t i = 0; i < rets.size(); ++i) {
    auto b = rets.get<ffi::AnyBuffer>(i);
    Ref view = view_of((*b)->untyped_data(), (*b)->size_bytes(), kWrite);
    if (!append(outputs.get(), std::move(view))) return false;
  }
  Ref result(PyObject_CallFunctionObjArgs(python_hook, number.get(), inputs.get(),
                                          outputs.get(), nullptr));
  return static_cast<bool>(result);
}

// The pending exception as one object, traceback attached.
PyObject* take_exception() {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr && value != nullptr) {
    PyException_SetTraceback(value, traceback);
  }
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return value;
}

void zero_fill(ffi::RemainingRets& rets) {
  for (size_t i = 0; i < rets.size(); ++i) {
    auto b = rets.get<ffi::AnyBuffer>(i);
    memset((*b)->untyped_data(), 0, (*b)->size_bytes());
  }
}

// "type: message" of an exception, which is dropped.
ffi::Error as_ffi_error(PyObject* exception) {
  Ref text(PyObject_Str(exception));
  Ref bytes(text ? PyUnicode_AsUTF8String(text.get()) : nullptr);
  std::string message = bytes ? PyBytes_AsString(bytes.get()) : "(no message)";
  PyErr_Clear();
  Py_XDECREF(exception);
  return ffi::Error(ffi::ErrorCode::kInternal, "custom call failed: " + message);
}

// A handler registered from Python. With `state`, the last operand is the call vector;
// only calls in the entry computation can have it.
//
// With it, a failing handler does not fail the XLA call: other replicas could then wait
// for this one in a collective until XLA aborts the process. It marks the call as
// failed, which stops the stores, and Runner raises the exception when all replicas are
// through.
ffi::Error call_python(int64_t id, int64_t has_state, ffi::RemainingArgs args,
                       ffi::RemainingRets rets) {
  size_t nargs = args.size() - (has_state != 0 ? 1 : 0);
  CallState* state = nullptr;
  if (has_state != 0) {
    auto vector = args.get<ffi::AnyBuffer>(nargs);
    auto word = static_cast<const uint64_t*>(vector->untyped_data())[0];
    state = reinterpret_cast<CallState*>(word);
  }
  PyGILState_STATE gil = PyGILState_Ensure();
  ffi::Error result = ffi::Error::Success();
  if (state != nullptr && state->failed) {
    zero_fill(rets);
  } else if (!call_hook(id, args, nargs, rets)) {
    PyObject* exception = take_exception();
    if (state == nullptr) {
      result = as_ffi_error(exception);
    } else {
      Py_XDECREF(std::exchange(state->error, exception));
      state->failed = true;
      zero_fill(rets);
    }
  }
  PyGILState_Release(gil);
  return result;
}

XLA_FFI_DEFINE_HANDLER(kStore, store,
                       ffi::Ffi::Bind().RemainingArgs().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER(kCallPython, call_python,
                       ffi::Ffi::Bind()
                           .Attr<int64_t>("id")
                           .Attr<int64_t>("state")
                           .RemainingArgs()
                           .RemainingRets());

// ---------------------------------------------------------------- memory for XLA

// DLPack's ABI (https://dmlc.github.io/dlpack): what a "dltensor" capsule points to.
struct DLTensor {
  void* data;
  int32_t device_type, device_id;
  int32_t ndim;
  uint8_t type_code, type_bits;
  uint16_t type_lanes;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* manager;
  void (*deleter)(DLManagedTensor*);
};
struct FlatBytes {
  DLManagedTensor managed;
  int64_t size;
};

void drop_unused_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // was taken over
  auto* t = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  t->deleter(t);
}

// flat_bytes(address, nbytes): a DLPack capsule of u8[nbytes] that does not own memory.
PyObject* flat_bytes(PyObject*, PyObject* args) {
  unsigned long long address = 0;
  Py_ssize_t nbytes = 0;
  if (!PyArg_ParseTuple(args, "Kn", &address, &nbytes)) return nullptr;
  auto* flat = new FlatBytes{};
  flat->size = nbytes;
  flat->managed.tensor = {
      reinterpret_cast<void*>(address), 1, 0, 1, 1, 8, 1, &flat->size, nullptr, 0};
  flat->managed.manager = flat;
  flat->managed.deleter = [](DLManagedTensor* t) {
    delete static_cast<FlatBytes*>(t->manager);
  };
  PyObject* capsule = PyCapsule_New(&flat->managed, "dltensor", drop_unused_capsule);
  if (capsule == nullptr) delete flat;
  return capsule;
}

// ---------------------------------------------------------------- NumPy arrays

struct PyArrayInterface {  // NumPy's documented `__array_struct__`
  int two;
  int nd;
  char typekind;
  int itemsize;
  int flags;
  Py_intptr_t* shape;
  Py_intptr_t* strides;
  void* data;
  PyObject* descr;
};
constexpr int kContiguous = 0x1, kNativeOrder = 0x200, kWriteable = 0x400;

PyObject* array_struct_name = nullptr;

// Where and how large `array` is; sets an exception unless it is a C-contiguous array
// of `nbytes` bytes in native byte order (and writeable, for an output).
bool locate(PyObject* array, size_t nbytes, const char* role, Py_ssize_t index,
            bool write, Span* span) {
  Ref capsule(PyObject_GetAttr(array, array_struct_name));
  if (!capsule) return false;
  auto* a =
      static_cast<PyArrayInterface*>(PyCapsule_GetPointer(capsule.get(), nullptr));
  if (a == nullptr) return false;
  size_t actual = static_cast<size_t>(a->itemsize);
  for (int i = 0; i < a->nd; ++i) actual *= static_cast<size_t>(a->shape[i]);
  if (actual != nbytes) {
    PyErr_Format(PyExc_ValueError, "%s %zd has %zu bytes; the module has %zu", role,
                 index, actual, nbytes);
    return false;
  }
  int needed = kContiguous | kNativeOrder | (write ? kWriteable : 0);
  if ((a->flags & needed) != needed) {
    PyErr_Format(PyExc_ValueError,
                 "%s %zd must be C-contiguous, in native byte order%s", role, index,
                 write ? " and writeable" : "");
    return false;
  }
  *span = span_of(a->data, nbytes);
  return true;
}

bool check_count(PyObject* tuple, size_t expected, const char* what) {
  Py_ssize_t n = PyTuple_Size(tuple);
  if (static_cast<size_t>(n) == expected) return true;
  PyErr_Format(PyExc_ValueError, "got %zd %s; the module has %zu", n, what, expected);
  return false;
}

// ---------------------------------------------------------------- Runner

// What one call needs for itself: staging memory per parameter and replica with the XLA
// arrays over it, and the call vectors. Frames are reused; one call has one at a time.
struct Frame {
  std::vector<std::vector<Memory>> staging;  // [parameter][replica], empty until used
  std::vector<Ref> staged;                   // XLA array per parameter, null until used
  std::vector<Memory> vectors;               // [replica]
  Ref arguments;                             // the list that execute gets
  size_t staged_bytes = 0;
  CallState state;
  bool abandoned = false;  // replicas may still be running: never to be freed
};

struct Core {
  Ref execute;        // execute(list of arrays): runs all replicas, done on return
  Ref import_memory;  // import_memory(tuple of addresses, nbytes) -> array
  std::vector<size_t> inputs, outputs;  // bytes of each
  size_t replicas = 1;
  size_t zero_copy = 0;  // inputs from this size on are read in place if aligned
  std::vector<std::unique_ptr<Frame>> frames;
  size_t pooled_bytes = 0;
  // Arrays over callers' memory. They own nothing and are only used while the caller
  // holds that memory, so an entry for memory that was freed is harmless.
  std::map<std::vector<uint64_t>, Ref> imports;

  Ref import_at(const std::vector<uint64_t>& addresses, size_t nbytes);
  std::unique_ptr<Frame> take_frame();
  void give_back(std::unique_ptr<Frame> frame);
  PyObject* imported(const std::vector<Span>& spans);
  PyObject* stage(Frame& frame, size_t parameter, const std::vector<Span>& spans);
  bool run(const std::vector<Ref>& ins, const std::vector<Ref>& outs);
  bool place_input(Frame& frame, size_t parameter, const std::vector<Ref>& ins,
                   const std::vector<Span>& outs, bool* overlap);
  bool execute_frame(Frame& frame, bool overlap);
};

Ref Core::import_at(const std::vector<uint64_t>& addresses, size_t nbytes) {
  Ref tuple(PyTuple_New(static_cast<Py_ssize_t>(addresses.size())));
  if (!tuple) return Ref();
  for (size_t i = 0; i < addresses.size(); ++i) {
    PyObject* number = PyLong_FromUnsignedLongLong(addresses[i]);
    if (number == nullptr) return Ref();
    PyTuple_SetItem(tuple.get(), static_cast<Py_ssize_t>(i), number);
  }
  Ref size(PyLong_FromSize_t(nbytes));
  if (!size) return Ref();
  return Ref(PyObject_CallFunctionObjArgs(import_memory.get(), tuple.get(), size.get(),
                                          nullptr));
}

std::unique_ptr<Frame> Core::take_frame() {
  if (!frames.empty()) {
    std::unique_ptr<Frame> frame = std::move(frames.back());
    frames.pop_back();
    pooled_bytes -= frame->staged_bytes;
    return frame;
  }
  auto frame = std::make_unique<Frame>();
  frame->staging.resize(inputs.size());
  frame->staged.resize(inputs.size());
  frame->arguments = Ref(PyList_New(static_cast<Py_ssize_t>(inputs.size() + 1)));
  if (!frame->arguments) return nullptr;
  for (size_t i = 0; i < inputs.size(); ++i) {  // no list item may be null
    Py_INCREF(Py_None);
    PyList_SetItem(frame->arguments.get(), static_cast<Py_ssize_t>(i), Py_None);
  }
  size_t nbytes = (outputs.size() + 2) * sizeof(uint64_t);
  std::vector<uint64_t> addresses;
  for (size_t r = 0; r < replicas; ++r) {
    frame->vectors.push_back(allocate(nbytes));
    memset(frame->vectors.back().get(), 0, nbytes);
    addresses.push_back(reinterpret_cast<uint64_t>(frame->vectors.back().get()));
  }
  Ref array = import_at(addresses, nbytes);
  if (!array) return nullptr;
  PyList_SetItem(frame->arguments.get(), static_cast<Py_ssize_t>(inputs.size()),
                 array.release());
  return frame;
}

// Keeps the frame for the next call, unless that would hold on to much memory: the last
// frame is always kept, further ones (of calls at the same time) while they are small.
void Core::give_back(std::unique_ptr<Frame> frame) {
  if (frame->abandoned) {
    frame.release();
    return;
  }
  if (!frames.empty() && pooled_bytes + frame->staged_bytes > kMaxPooledBytes) return;
  pooled_bytes += frame->staged_bytes;
  frames.push_back(std::move(frame));
}

// An array over the callers' own memory. Borrowed; null with an exception set.
PyObject* Core::imported(const std::vector<Span>& spans) {
  std::vector<uint64_t> key;
  for (const Span& span : spans) key.push_back(span.begin);
  key.push_back(spans[0].size);
  auto found = imports.find(key);
  if (found != imports.end()) return found->second.get();
  if (imports.size() >= kMaxImports) imports.clear();
  std::vector<uint64_t> addresses(key.begin(), key.end() - 1);
  Ref array = import_at(addresses, spans[0].size);
  if (!array) return nullptr;
  return imports.emplace(std::move(key), std::move(array)).first->second.get();
}

// Copies an input into the frame. Borrowed result, null with an exception set.
PyObject* Core::stage(Frame& frame, size_t parameter, const std::vector<Span>& spans) {
  size_t nbytes = inputs[parameter];
  if (!frame.staged[parameter]) {
    std::vector<Memory> memory;
    std::vector<uint64_t> addresses;
    for (size_t r = 0; r < replicas; ++r) {
      memory.push_back(allocate(nbytes));
      addresses.push_back(reinterpret_cast<uint64_t>(memory.back().get()));
    }
    Ref array = import_at(addresses, nbytes);
    if (!array) return nullptr;
    frame.staging[parameter] = std::move(memory);
    frame.staged[parameter] = std::move(array);
    frame.staged_bytes += nbytes * replicas;
  }
  bool large = nbytes * replicas >= kReleaseGilFrom;
  PyThreadState* thread = large ? PyEval_SaveThread() : nullptr;
  for (size_t r = 0; r < replicas && nbytes != 0; ++r) {
    memcpy(frame.staging[parameter][r].get(), reinterpret_cast<void*>(spans[r].begin),
           nbytes);
  }
  if (large) PyEval_RestoreThread(thread);
  return frame.staged[parameter].get();
}

// Puts the array for one parameter into the frame's argument list. Large aligned inputs
// are read in place, unless another replica writes a result there; one that this call
// itself writes to is left to store_overlapping.
bool Core::place_input(Frame& frame, size_t parameter, const std::vector<Ref>& ins,
                       const std::vector<Span>& outs, bool* overlap) {
  auto index = static_cast<Py_ssize_t>(parameter);
  bool in_place = inputs[parameter] >= zero_copy;
  bool overlapped = false;
  std::vector<Span> spans(replicas);
  for (size_t r = 0; r < replicas; ++r) {
    PyObject* array = PyTuple_GetItem(ins[r].get(), index);
    if (!locate(array, inputs[parameter], "input", index, false, &spans[r]))
      return false;
    in_place = in_place && spans[r].begin % kAlignment == 0;
    for (size_t o = 0; in_place && o < outs.size(); ++o) {
      if (!spans[r].overlaps(outs[o])) continue;
      overlapped = true;
      in_place = replicas == 1;
    }
  }
  PyObject* array = in_place ? imported(spans) : stage(frame, parameter, spans);
  if (array == nullptr) return false;
  *overlap = *overlap || (in_place && overlapped);
  if (PyList_GetItem(frame.arguments.get(), index) == array) return true;
  Py_INCREF(array);
  return PyList_SetItem(frame.arguments.get(), index, array) == 0;
}

// Sets `exception` (stolen) as the pending one.
void raise(PyObject* exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  Py_DECREF(exception);
}

// XLA's errors have a private type; the engine says what they become.
void translate_error() {
  if (error_translator == nullptr || !PyErr_ExceptionMatches(PyExc_RuntimeError))
    return;
  Ref error(take_exception());
  PyObject* ours = PyObject_CallFunctionObjArgs(error_translator, error.get(), nullptr);
  if (ours != nullptr) raise(ours);
}

bool Core::execute_frame(Frame& frame, bool overlap) {
  CallState& state = frame.state;
  state = CallState();
  state.overlap = overlap;
  for (auto& vector : frame.vectors) {
    static_cast<uint64_t*>(vector.get())[0] = reinterpret_cast<uint64_t>(&state);
  }
  Ref results(
      PyObject_CallFunctionObjArgs(execute.get(), frame.arguments.get(), nullptr));
  if (state.error != nullptr) {
    PyErr_Clear();
    raise(std::exchange(state.error, nullptr));
    return false;
  }
  if (!results) {
    frame.abandoned = replicas > 1;
    translate_error();
  }
  return static_cast<bool>(results);
}

// `ins` and `outs` hold one tuple of arrays per replica.
bool Core::run(const std::vector<Ref>& ins, const std::vector<Ref>& outs) {
  std::vector<Span> targets(replicas * outputs.size());
  for (size_t r = 0; r < replicas; ++r) {
    if (!check_count(ins[r].get(), inputs.size(), "inputs")) return false;
    if (!check_count(outs[r].get(), outputs.size(), "outputs")) return false;
    for (size_t i = 0; i < outputs.size(); ++i) {
      auto index = static_cast<Py_ssize_t>(i);
      PyObject* array = PyTuple_GetItem(outs[r].get(), index);
      Span* target = &targets[r * outputs.size() + i];
      if (!locate(array, outputs[i], "output", index, true, target)) return false;
    }
  }
  std::unique_ptr<Frame> frame = take_frame();
  if (!frame) return false;
  bool overlap = false, ok = true;
  for (size_t i = 0; ok && i < inputs.size(); ++i) {
    ok = place_input(*frame, i, ins, targets, &overlap);
  }
  for (size_t r = 0; ok && r < replicas; ++r) {
    auto* words = static_cast<uint64_t*>(frame->vectors[r].get());
    for (size_t i = 0; i < outputs.size(); ++i) {
      words[i + 1] = targets[r * outputs.size() + i].begin;
    }
  }
  ok = ok && execute_frame(*frame, overlap);
  give_back(std::move(frame));
  return ok;
}

struct RunnerObject {
  PyObject_HEAD Core* core;
};

Core* core_of(PyObject* self) { return reinterpret_cast<RunnerObject*>(self)->core; }

bool read_sizes(PyObject* sequence, std::vector<size_t>* sizes) {
  Ref tuple(PySequence_Tuple(sequence));
  if (!tuple) return false;
  for (Py_ssize_t i = 0; i < PyTuple_Size(tuple.get()); ++i) {
    size_t size = PyLong_AsSize_t(PyTuple_GetItem(tuple.get(), i));
    if (PyErr_Occurred() != nullptr) return false;
    sizes->push_back(size);
  }
  return true;
}

PyObject* runner_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *execute, *import_memory, *inputs, *outputs;
  Py_ssize_t replicas, zero_copy;
  if (!PyArg_ParseTuple(args, "OOOOnn", &execute, &import_memory, &inputs, &outputs,
                        &replicas, &zero_copy)) {
    return nullptr;
  }
  auto core = std::make_unique<Core>();
  if (!read_sizes(inputs, &core->inputs) || !read_sizes(outputs, &core->outputs)) {
    return nullptr;
  }
  Py_INCREF(execute);
  core->execute = Ref(execute);
  Py_INCREF(import_memory);
  core->import_memory = Ref(import_memory);
  core->replicas = static_cast<size_t>(replicas);
  core->zero_copy = static_cast<size_t>(zero_copy);
  auto alloc = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* self = alloc(type, 0);
  if (self != nullptr) reinterpret_cast<RunnerObject*>(self)->core = core.release();
  return self;
}

void runner_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete core_of(self);
  auto release = reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free));
  release(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* finish(Core* core, const std::vector<Ref>& ins,
                 const std::vector<Ref>& outs) {
  try {
    if (!core->run(ins, outs)) return nullptr;
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  Py_RETURN_NONE;
}

// A tuple keeps its arrays alive while the GIL is released, whatever the caller does.
bool add_tuple(std::vector<Ref>* list, PyObject* sequence) {
  list->emplace_back(PySequence_Tuple(sequence));
  return static_cast<bool>(list->back());
}

PyObject* runner_run(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  Core* core = core_of(self);
  if (nargs != 2 || core->replicas != 1) {
    PyErr_SetString(PyExc_TypeError,
                    nargs == 2 ? "compiled for several replicas: use run_replicas"
                               : "run(inputs, outputs) takes two sequences");
    return nullptr;
  }
  std::vector<Ref> ins, outs;
  if (!add_tuple(&ins, args[0]) || !add_tuple(&outs, args[1])) return nullptr;
  return finish(core, ins, outs);
}

bool add_ranks(std::vector<Ref>* list, PyObject* sequence, size_t replicas) {
  Ref ranks(PySequence_Tuple(sequence));
  if (!ranks || !check_count(ranks.get(), replicas, "ranks")) return false;
  for (size_t r = 0; r < replicas; ++r) {
    PyObject* rank = PyTuple_GetItem(ranks.get(), static_cast<Py_ssize_t>(r));
    if (!add_tuple(list, rank)) return false;
  }
  return true;
}

PyObject* runner_run_replicas(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2) {
    PyErr_SetString(PyExc_TypeError,
                    "run_replicas(inputs, outputs) takes two sequences");
    return nullptr;
  }
  Core* core = core_of(self);
  std::vector<Ref> ins, outs;
  if (!add_ranks(&ins, args[0], core->replicas)) return nullptr;
  if (!add_ranks(&outs, args[1], core->replicas)) return nullptr;
  return finish(core, ins, outs);
}

template <typename Function>
PyCFunction as_c_function(Function* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef runner_methods[] = {
    {"run", as_c_function(runner_run), METH_FASTCALL,
     "run(inputs, outputs): execute on one device, results into `outputs`."},
    {"run_replicas", as_c_function(runner_run_replicas), METH_FASTCALL,
     "run_replicas(inputs, outputs): the same with one sequence of arrays per rank."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot runner_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(runner_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(runner_dealloc)},
    {Py_tp_methods, runner_methods},
    {Py_tp_doc, const_cast<char*>("Runner(execute, import_memory, input_sizes, "
                                  "output_sizes, replicas, zero_copy)")},
    {0, nullptr}};

PyType_Spec runner_spec = {"nkipy_emulator._handlers.Runner", sizeof(RunnerObject), 0,
                           Py_TPFLAGS_DEFAULT, runner_slots};

// ---------------------------------------------------------------- the module

// targets(): the custom calls as {name: capsule}, to be registered with XLA.
PyObject* targets(PyObject*, PyObject*) {
  Ref dict(PyDict_New());
  if (!dict) return nullptr;
  const std::pair<const char*, void*> table[] = {
      {"nkipy_store", reinterpret_cast<void*>(kStore)},
      {"nkipy_call_python", reinterpret_cast<void*>(kCallPython)}};
  for (const auto& [name, function] : table) {
    Ref capsule(PyCapsule_New(function, kTargetCapsule, nullptr));
    if (!capsule || PyDict_SetItemString(dict.get(), name, capsule.get()) != 0) {
      return nullptr;
    }
  }
  return dict.release();
}

void replace(PyObject** global, PyObject* value) {
  Py_INCREF(value);
  Py_XDECREF(std::exchange(*global, value));
}

// set_hook(callable): hook(id, inputs, outputs) answers `nkipy_call_python`.
PyObject* set_hook(PyObject*, PyObject* hook) {
  replace(&python_hook, hook);
  Py_RETURN_NONE;
}

// set_error_translator(callable): makes the exception to raise of one of XLA's.
PyObject* set_error_translator(PyObject*, PyObject* translator) {
  replace(&error_translator, translator);
  Py_RETURN_NONE;
}

PyMethodDef module_methods[] = {
    {"targets", targets, METH_NOARGS, "The custom calls as {name: capsule}."},
    {"set_error_translator", set_error_translator, METH_O,
     "Set what makes the exception to raise of one of XLA's."},
    {"set_hook", set_hook, METH_O, "Set what answers `nkipy_call_python`."},
    {"flat_bytes", flat_bytes, METH_VARARGS,
     "flat_bytes(address, nbytes): DLPack capsule of u8[nbytes], not owning memory."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module_definition = {PyModuleDef_HEAD_INIT,
                                 "_handlers",
                                 "Custom calls and the call path of the XLA engine.",
                                 -1,
                                 module_methods,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__handlers() {
  array_struct_name = PyUnicode_InternFromString("__array_struct__");
  Ref module(PyModule_Create(&module_definition));
  Ref type(PyType_FromSpec(&runner_spec));
  if (array_struct_name == nullptr || !module || !type) return nullptr;
  if (PyModule_AddObject(module.get(), "Runner", type.get()) != 0) return nullptr;
  type.release();  // the module took the reference
  return module.release();
}
