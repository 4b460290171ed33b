// What the XLA engine needs below Python: the custom calls that compiled modules make,
// and the call path that hands NumPy arrays to an XLA executable.
//
// A compiled module has one parameter more than the program: the *call vector*,
// u64[2+n+m]. Word 0 points to the Replica that runs of the call, words 1..n say where
// the results go, the next m by how many elements parameters begin behind an aligned
// address (nkipy_emulator.operands), the last is zero (nkipy.hlo.rewrites.exact says
// what for). Its root is the custom call `nkipy_store`, which copies every result
// there; so a warm call creates no array object. Because all results are operands of
// the store, it runs after every reader of an input that one overwrites. Beside it are
// large results, which it need not copy if the caller has no memory for them.

#include <string.h>

#include "among_calls.h"
#include "choice_calls.h"
#include "collective_calls.h"
#include "custom_calls.h"
#include "device_calls.h"
#include "element_calls.h"
#include "element_program.h"
#include "exit_gate.h"
#include "extreme_calls.h"
#include "fold_calls.h"
#include "handler_program.h"
#include "join_calls.h"
#include "memory_digest.h"
#include "memory_watch.h"
#include "move_calls.h"
#include "numpy_kernels.h"
#include "order_calls.h"
#include "own_results.h"
#include "plain_calls.h"
#include "products.h"
#include "python_support.h"
#include "row_calls.h"
#include "runner.h"
#include "scan_calls.h"
#include "seat_type.h"
#include "slide_calls.h"
#include "small_products.h"
#include "store_calls.h"
#include "sums.h"
#include "workers.h"

namespace nkipy {
namespace {

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

bool is_of_jax(PyObject* module) {
  const Ref bytes(PyUnicode_AsUTF8String(module));
  const char* name = bytes ? PyBytes_AsString(bytes.get()) : nullptr;
  return name != nullptr && strncmp(name, "jax", 3) == 0 && strchr(".", name[3]);
}

// import_without_jax(name, globals, locals, fromlist, level): as __import__; of jax and
// its parts, it fails without running code in Python.
PyObject* import_without_jax(PyObject*, PyObject* args) {
  PyObject *name, *globals, *locals, *names;
  int level = 0;
  if (!PyArg_ParseTuple(args, "UOOOi", &name, &globals, &locals, &names, &level)) {
    return nullptr;
  }
  if (!is_of_jax(name)) {
    return PyImport_ImportModuleLevelObject(name, globals, locals, names, level);
  }
  PyErr_SetString(PyExc_ModuleNotFoundError, "jax is not wanted here");
  return nullptr;
}

// ---------------------------------------------------------------- Runner

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

// Which outputs an execution makes itself.
bool read_own(PyObject* sequence, Core* core) {
  std::vector<size_t> indices;
  if (!read_sizes(sequence, &indices)) return false;
  core->own.resize(core->outputs.size());
  for (const size_t index : indices) {
    if (index >= core->own.size()) {
      PyErr_Format(PyExc_ValueError, "there is no output %zu", index);
      return false;
    }
    core->own[index] = true;
  }
  return true;
}

// Where the constants lie, which are the last inputs and stay as long as the runner.
bool locate_constants(PyObject* sequence, Core* core) {
  core->constants = Ref(PySequence_Tuple(sequence));
  if (!core->constants) return false;
  const Py_ssize_t count = PyTuple_Size(core->constants.get());
  if (static_cast<size_t>(count) > core->inputs.size()) {
    PyErr_SetString(PyExc_ValueError, "more constants than inputs");
    return false;
  }
  const size_t first = core->inputs.size() - static_cast<size_t>(count);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* array = PyTuple_GetItem(core->constants.get(), i);
    const size_t nbytes = core->inputs[first + static_cast<size_t>(i)];
    core->constant_spans.emplace_back();
    if (!locate(array, nbytes, "constant", i, false, &core->constant_spans.back())) {
      return false;
    }
  }
  return true;
}

// Of the kind that the first item names; null with an exception set.
std::unique_ptr<DirectProgram> read_direct_program(PyObject* tuple) {
  const char* kind;
  PyObject* program;
  if (!PyArg_ParseTuple(tuple, "sO!", &kind, &PyTuple_Type, &program)) return nullptr;
  if (strcmp(kind, "elements") == 0) return read_element_program(program);
  if (strcmp(kind, "handlers") == 0) return read_handler_program(program);
  PyErr_Format(PyExc_ValueError, "there are no programs of %s", kind);
  return nullptr;
}

PyObject* runner_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *execute, *import_memory, *inputs, *outputs, *apart;
  PyObject *steps, *constants, *own, *take;
  PyObject *blanks, *direct;
  Py_ssize_t replicas, zero_copy;
  if (!PyArg_ParseTuple(args, "OOOOnnOOOOOOO", &execute, &import_memory, &inputs,
                        &outputs, &replicas, &zero_copy, &apart, &steps, &constants,
                        &own, &take, &blanks, &direct)) {
    return nullptr;
  }
  auto core = std::make_unique<Core>();
  if (direct != Py_None) {
    core->direct = read_direct_program(direct);
    if (!core->direct) return nullptr;
  }
  if (!read_sizes(inputs, &core->inputs) || !read_sizes(outputs, &core->outputs) ||
      !read_sizes(steps, &core->steps) || !read_own(own, core.get()) ||
      !locate_constants(constants, core.get())) {
    return nullptr;
  }
  if (core->direct && (!core->direct->is_of(core->inputs, core->outputs) ||
                       !core->constant_spans.empty())) {
    PyErr_SetString(PyExc_ValueError, "a program of arrays of other sizes");
    return nullptr;
  }
  core->execute = share(execute);
  core->import_memory = share(import_memory);
  core->apart = share(apart);
  core->take = share(take);
  core->blanks = Ref(PySequence_Tuple(blanks));
  if (!core->blanks) return nullptr;
  core->replicas = static_cast<size_t>(replicas);
  core->zero_copy = static_cast<size_t>(zero_copy);
  auto alloc = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* self = alloc(type, 0);
  if (self != nullptr) reinterpret_cast<RunnerObject*>(self)->core = core.release();
  return self;
}

void runner_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if (exit_gate.enter()) {  // else nobody may free arrays of XLA's: see OwnedArray
    delete core_of(self);
    exit_gate.leave();
  }
  auto release = reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free));
  release(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

// What a call uses for as long as it goes on.
struct Used {
  Ref runner;
  std::vector<Ref> tuples;
};

std::shared_ptr<Used> keep(PyObject* self, const std::vector<Ref>& ins,
                           const std::vector<Ref>& outs) {
  auto used = std::make_shared<Used>();
  used->runner = share(self);
  for (const std::vector<Ref>* tuples : {&ins, &outs}) {
    for (const Ref& tuple : *tuples) used->tuples.push_back(share(tuple.get()));
  }
  return used;
}

PyObject* finish(PyObject* self, const std::vector<Ref>& ins,
                 const std::vector<Ref>& outs, bool wants_results = false) {
  Passage passage;
  if (!passage) return nullptr;
  Ref results;
  try {
    const auto kept = [&] { return keep(self, ins, outs); };
    Ref* wanted = wants_results ? &results : nullptr;
    if (!core_of(self)->run(ins, outs, kept, wanted)) return nullptr;
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  if (!results) Py_RETURN_NONE;
  PyObject* take = core_of(self)->take.get();
  return or_stop(
      [&] { return PyObject_CallFunctionObjArgs(take, results.get(), nullptr); });
}

// A tuple keeps its arrays alive while the GIL is released, whatever the caller does.
bool add_tuple(std::vector<Ref>* list, PyObject* sequence) {
  list->emplace_back(PySequence_Tuple(sequence));
  return static_cast<bool>(list->back());
}

PyObject* run_one(PyObject* self, PyObject* const* args, Py_ssize_t nargs,
                  bool wants_results) {
  Core* core = core_of(self);
  if (nargs != 2 || core->replicas != 1) {
    PyErr_SetString(PyExc_TypeError,
                    nargs == 2 ? "compiled for several replicas: use run_replicas"
                               : "run(inputs, outputs) takes two sequences");
    return nullptr;
  }
  std::vector<Ref> ins, outs;
  if (!add_tuple(&ins, args[0]) || !add_tuple(&outs, args[1])) return nullptr;
  return finish(self, ins, outs, wants_results);
}

PyObject* runner_run(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  return run_one(self, args, nargs, false);
}

PyObject* runner_run_for(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  return run_one(self, args, nargs, true);
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
  return finish(self, ins, outs);
}

bool read_addresses(PyObject* sequence, size_t expected, const char* what,
                    std::vector<uint64_t>* addresses) {
  Ref tuple(PySequence_Tuple(sequence));
  if (!tuple || !check_count(tuple.get(), expected, what)) return false;
  for (size_t i = 0; i < expected; ++i) {
    PyObject* number = PyTuple_GetItem(tuple.get(), static_cast<Py_ssize_t>(i));
    addresses->push_back(PyLong_AsUnsignedLongLong(number));
    if (PyErr_Occurred() != nullptr) return false;
  }
  return true;
}

// Prints by a Python function.
void print_by(const void* function, uint32_t rank, const char* prefix,
              const char* dtype, const uint64_t* shape, size_t dimensions,
              const void* data, size_t size) {
  auto* callable = static_cast<PyObject*>(const_cast<void*>(function));
  Ref tuple(PyTuple_New(static_cast<Py_ssize_t>(dimensions)));
  for (size_t i = 0; tuple && i < dimensions; ++i) {
    PyTuple_SetItem(tuple.get(), static_cast<Py_ssize_t>(i),
                    PyLong_FromUnsignedLongLong(shape[i]));
  }
  if (!tuple) return;
  Ref done(or_stop([&] {
    return PyObject_CallFunction(callable, "IssOy#", rank, prefix, dtype, tuple.get(),
                                 static_cast<const char*>(data),
                                 static_cast<Py_ssize_t>(size));
  }));
}

PyObject* runner_run_at(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2 && nargs != 3) {
    PyErr_SetString(PyExc_TypeError,
                    "run_at(inputs, outputs, printer=None) takes two sequences");
    return nullptr;
  }
  Passage passage;
  if (!passage) return nullptr;
  Core* core = core_of(self);
  std::vector<uint64_t> ins, outs;
  size_t n = core->replicas;
  const nkipy_printer printer{print_by, nargs == 3 ? args[2] : nullptr};
  if (!read_addresses(args[0], n * core->given(), "inputs", &ins) ||
      !read_addresses(args[1], n * core->outputs.size(), "outputs", &outs) ||
      !run_at(
          core, ins.data(), outs.data(), [&] { return keep(self, {}, {}); },
          nargs == 3 ? &printer : nullptr)) {
    return nullptr;
  }
  Py_RETURN_NONE;
}

template <typename Function>
PyCFunction as_c_function(Function* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyObject* runner_sit(PyObject* self, PyObject* args) {
  PyObject* seat = nullptr;
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "O!|d", seat_type, &seat, &seconds)) return nullptr;
  core_of(self)->seat = seat_of(seat);
  if (seconds > 0) {
    core_of(self)->patience = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(std::min(seconds, 1e9)));
  }
  Py_RETURN_NONE;
}

PyMethodDef runner_methods[] = {
    {"sit", runner_sit, METH_VARARGS,
     "sit(seat, seconds=0): whose world its collectives are among, and how long run() "
     "may take, which waits for others; 0: for ever."},
    {"run", as_c_function(runner_run), METH_FASTCALL,
     "run(inputs, outputs): execute on one device, results into `outputs`."},
    {"run_for", as_c_function(runner_run_for), METH_FASTCALL,
     "run_for(inputs, outputs): the same, but outputs that the execution makes itself "
     "may be None; what take(results) returns."},
    {"run_replicas", as_c_function(runner_run_replicas), METH_FASTCALL,
     "run_replicas(inputs, outputs): the same with one sequence of arrays per rank."},
    {"run_at", as_c_function(runner_run_at), METH_FASTCALL,
     "run_at(inputs, outputs, printer=None): the same on memory at these addresses, "
     "rank by rank. `printer(rank, prefix, dtype, shape, data)` takes what is "
     "printed."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot runner_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(runner_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(runner_dealloc)},
    {Py_tp_methods, runner_methods},
    {Py_tp_doc, const_cast<char*>("Runner(execute, import_memory, input_sizes, "
                                  "output_sizes, replicas, zero_copy, apart, steps, "
                                  "constants, own, take, blanks, direct)")},
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
      {"nkipy_blank", reinterpret_cast<void*>(kBlank)},
      {"nkipy_sums", reinterpret_cast<void*>(kSumsCall)},
      {"nkipy_products", reinterpret_cast<void*>(kProductsCall)},
      {"nkipy_out_of_bounds", reinterpret_cast<void*>(kOutOfBounds)},
      {"nkipy_call_python", reinterpret_cast<void*>(kCallPython)},
      {"nkipy_elements", reinterpret_cast<void*>(kElementCall)},
      {"nkipy_sort", reinterpret_cast<void*>(kSortCall)},
      {"nkipy_extreme", reinterpret_cast<void*>(kExtremeCall)},
      {"nkipy_join", reinterpret_cast<void*>(kJoinCall)},
      {"nkipy_copy", reinterpret_cast<void*>(kCopyCall)},
      {"nkipy_rows", reinterpret_cast<void*>(kRowsCall)},
      {"nkipy_strided_store", reinterpret_cast<void*>(kStridedStoreCall)},
      {"nkipy_collective", reinterpret_cast<void*>(kCollective)},
      {"nkipy_rank", reinterpret_cast<void*>(kRank)},
      {"nkipy_move", reinterpret_cast<void*>(kMoveCall)},
      {"nkipy_select", reinterpret_cast<void*>(kSelectCall)},
      {"nkipy_convert", reinterpret_cast<void*>(kConvertCall)},
      {"nkipy_count", reinterpret_cast<void*>(kCountCall)},
      {"nkipy_fold", reinterpret_cast<void*>(kFoldCall)},
      {"nkipy_scan", reinterpret_cast<void*>(kScanCall)},
      {"nkipy_among", reinterpret_cast<void*>(kAmongCall)},
      {"nkipy_slide", reinterpret_cast<void*>(kSlideCall)},
      {"nkipy_small_products", reinterpret_cast<void*>(kSmallProductsCall)}};
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

// set_hook(callable): hook(id, inputs, outputs, printer) answers `nkipy_call_python`.
PyObject* set_hook(PyObject*, PyObject* hook) {
  replace(&python_hook, hook);
  Py_RETURN_NONE;
}

// set_error_translator(callable): makes the exception to raise of one of XLA's.
PyObject* set_error_translator(PyObject*, PyObject* translator) {
  replace(&error_translator, translator);
  Py_RETURN_NONE;
}

// set_timeout_error(class): what a call that takes too long raises.
PyObject* set_timeout_error(PyObject*, PyObject* error) {
  replace(&timeout_error, error);
  Py_RETURN_NONE;
}

// world_bytes(ranks): how much memory the ranks of a world share on a machine.
PyObject* world_bytes(PyObject*, PyObject* ranks) {
  const unsigned long number = PyLong_AsUnsignedLong(ranks);
  if (PyErr_Occurred() != nullptr) return nullptr;
  return PyLong_FromSize_t(WorldMemory::size_for(static_cast<uint32_t>(number)));
}

// set_world_error(class): what a collective raises that cannot be completed.
PyObject* set_world_error(PyObject*, PyObject* error) {
  replace(&world_error, error);
  Py_RETURN_NONE;
}

// set_out_of_bounds_error(class): what an index out of bounds raises.
PyObject* set_out_of_bounds_error(PyObject*, PyObject* error) {
  replace(&out_of_bounds_error, error);
  Py_RETURN_NONE;
}

PyMethodDef module_methods[] = {
    {"add_function", add_function, METH_VARARGS,
     "add_function(name, ufunc, index): name loop `index` of a ufunc."},
    {"digest", digest, METH_VARARGS,
     "digest(array, nbytes, keys): 16 bytes for each block of 4096 bytes."},
    {"watch", watch, METH_VARARGS,
     "watch(address, nbytes): a number for watch_holds; 0 if nothing is watched."},
    {"watch_holds", watch_holds, METH_VARARGS,
     "watch_holds(address, nbytes, number): whether nobody has written since."},
    {"end_watch", end_watch, METH_VARARGS,
     "end_watch(address, nbytes): for each watch that gave a number."},
    {"orders_by_numpy", orders_by_numpy, METH_NOARGS,
     "Whether this NumPy has the kernels that handlers of sorts and extremes call."},
    {"targets", targets, METH_NOARGS, "The custom calls as {name: capsule}."},
    {"set_error_translator", set_error_translator, METH_O,
     "Set what makes the exception to raise of one of XLA's."},
    {"device_api", make_device_api, METH_VARARGS,
     "device_api(load, error): a capsule with the functions that libnrt calls."},
    {"enter_gate", enter_gate, METH_NOARGS,
     "Keep the interpreter from ending until leave_gate(), if it is not about to."},
    {"leave_gate", leave_gate, METH_NOARGS, "Let the interpreter end."},
    {"close_gate", close_gate, METH_NOARGS,
     "Wait for calls that are under way, and keep out those of other threads."},
    {"set_out_of_bounds_error", set_out_of_bounds_error, METH_O,
     "Set the exception class that an index out of bounds raises."},
    {"set_timeout_error", set_timeout_error, METH_O,
     "Set the exception class that a call which takes too long raises."},
    {"world_bytes", world_bytes, METH_O,
     "world_bytes(ranks): how much memory they share on one machine."},
    {"reduces", reduces, METH_VARARGS,
     "reduces(opcode, element_type): whether collectives do, of numbers of XLA's."},
    {"set_world_error", set_world_error, METH_O,
     "Set the exception class of collectives that cannot be completed."},
    {"set_hook", set_hook, METH_O, "Set what answers `nkipy_call_python`."},
    {"print_tensor", print_tensor, METH_VARARGS,
     "print_tensor(printer, rank, prefix, dtype, shape, data): whether it was taken."},
    {"require_time", require_time, METH_O,
     "require_time(printer): raise if the call has taken too long."},
    {"import_without_jax", import_without_jax, METH_VARARGS,
     "import_without_jax(name, globals, locals, fromlist, level): as __import__, but "
     "there is no jax."},
    {"own", own, METH_O,
     "own(array): a capsule that keeps an array of XLA's, and frees it in safety."},
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
}  // namespace nkipy

PyMODINIT_FUNC PyInit__handlers() {
  using namespace nkipy;
  if (!find_numpy()) return nullptr;
  note_forks_at_gate();
  note_forks_of_workers();
  array_struct_name = PyUnicode_InternFromString("__array_struct__");
  Ref numpy(PyImport_ImportModule("numpy"));
  if (!numpy) return nullptr;
  array_type =
      reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(numpy.get(), "ndarray"));
  Ref module(PyModule_Create(&module_definition));
  Ref type(PyType_FromSpec(&runner_spec)), seat(PyType_FromSpec(&seat_spec));
  if (array_struct_name == nullptr || array_type == nullptr || !module || !type ||
      !seat) {
    return nullptr;
  }
  if (PyModule_AddObject(module.get(), "Runner", type.get()) != 0) return nullptr;
  type.release();  // the module took the reference
  seat_type = reinterpret_cast<PyTypeObject*>(seat.get());
  if (PyModule_AddObject(module.get(), "Seat", share(seat.get()).release()) != 0) {
    return nullptr;
  }
  seat.release();  // lives as long as the process
  return module.release();
}
