// The call path: hands NumPy arrays to an XLA executable, with what it needs kept
// ready.

#ifndef NKIPY_EMULATOR_RUNNER_H_
#define NKIPY_EMULATOR_RUNNER_H_

#include <string.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "../libnrt/copy.h"
#include "custom_calls.h"
#include "exit_gate.h"
#include "python_support.h"

namespace nkipy {

constexpr size_t kMaxImports = 4096;
constexpr size_t kReleaseGilFrom = size_t{1} << 20;
constexpr size_t kMaxPooledBytes = size_t{64} << 20;

inline PyObject* error_translator = nullptr;  // what a RuntimeError of XLA's becomes

inline PyObject* out_of_bounds_error = nullptr;  // an exception class

// XLA's errors have a private type; the engine says what they become.
inline void translate_error() {
  if (error_translator == nullptr || !PyErr_ExceptionMatches(PyExc_RuntimeError))
    return;
  Ref error(take_exception());
  PyObject* ours = PyObject_CallFunctionObjArgs(error_translator, error.get(), nullptr);
  if (ours != nullptr) raise(ours);
}

// What one call needs for itself: staging memory per parameter and replica with the XLA
// arrays over it, and the call vectors. Frames are reused; one call has one at a time.
struct Frame {
  std::vector<std::vector<Memory>> staging;  // [parameter][replica], empty until used
  std::vector<Ref> staged;                   // XLA array per parameter, null until used
  std::vector<Memory> vectors;               // [replica]
  std::vector<emulator::Copy> copies;        // into staging, for the call under way
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
  bool run_spans(const std::vector<Span>& ins, const std::vector<Span>& outs,
                 size_t in_place_from, Clock::time_point deadline = kNoDeadline);
  bool place_input(Frame& frame, size_t parameter, const std::vector<Span>& ins,
                   const std::vector<Span>& outs, size_t in_place_from, bool* overlap);
  bool execute_frame(Frame& frame, bool overlap);
};

struct RunnerObject {  // the Python object `Runner`
  PyObject_HEAD Core* core;
};

inline Ref Core::import_at(const std::vector<uint64_t>& addresses, size_t nbytes) {
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

inline std::unique_ptr<Frame> Core::take_frame() {
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
inline void Core::give_back(std::unique_ptr<Frame> frame) {
  if (frame->abandoned) {
    frame.release();
    return;
  }
  if (!frames.empty() && pooled_bytes + frame->staged_bytes > kMaxPooledBytes) return;
  pooled_bytes += frame->staged_bytes;
  frames.push_back(std::move(frame));
}

// An array over the callers' own memory. Borrowed; null with an exception set.
inline PyObject* Core::imported(const std::vector<Span>& spans) {
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

// Has an input copied into the frame. Borrowed result, null with an exception set.
inline PyObject* Core::stage(Frame& frame, size_t parameter,
                             const std::vector<Span>& spans) {
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
  for (size_t r = 0; r < replicas && nbytes != 0; ++r) {
    frame.copies.push_back({frame.staging[parameter][r].get(),
                            reinterpret_cast<void*>(spans[r].begin), nbytes});
  }
  return frame.staged[parameter].get();
}

// All at once, which lets several threads share what is large.
inline void copy_staged(const Frame& frame) {
  size_t total = 0;
  for (const auto& copy : frame.copies) total += copy.size;
  PyThreadState* thread = total >= kReleaseGilFrom ? PyEval_SaveThread() : nullptr;
  emulator::copy_all(frame.copies.data(), frame.copies.size());
  if (thread != nullptr) restore_thread(thread);
}

// Puts the array for one parameter into the frame's argument list. Large aligned inputs
// are read in place, unless another replica writes a result there; one that this call
// itself writes to is left to store_overlapping.
inline bool Core::place_input(Frame& frame, size_t parameter,
                              const std::vector<Span>& ins,
                              const std::vector<Span>& outs, size_t in_place_from,
                              bool* overlap) {
  auto index = static_cast<Py_ssize_t>(parameter);
  bool in_place = inputs[parameter] >= in_place_from;
  bool overlapped = false;
  std::vector<Span> spans(replicas);
  for (size_t r = 0; r < replicas; ++r) {
    spans[r] = ins[r * inputs.size() + parameter];
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

inline bool Core::execute_frame(Frame& frame, bool overlap) {
  CallState& state = frame.state;
  state.overlap = overlap;
  for (auto& vector : frame.vectors) {
    static_cast<uint64_t*>(vector.get())[0] = reinterpret_cast<uint64_t>(&state);
  }
  Ref results(or_stop([&] {
    return PyObject_CallFunctionObjArgs(execute.get(), frame.arguments.get(), nullptr);
  }));
  if (state.error != nullptr) {
    PyErr_Clear();
    raise(std::exchange(state.error, nullptr));
    return false;
  }
  if (!results) {
    frame.abandoned = replicas > 1;
    translate_error();
    return false;
  }
  if (__atomic_load_n(&state.out_of_bounds, __ATOMIC_RELAXED)) {
    PyErr_SetString(out_of_bounds_error,
                    "an index of a gather, scatter or dynamic slice is out of bounds");
    return false;
  }
  return true;
}

// Where the arrays of all replicas lie, replica by replica.
inline bool locate_all(const std::vector<Ref>& tuples, const std::vector<size_t>& sizes,
                       const char* role, const char* roles, bool write,
                       std::vector<Span>* spans) {
  for (const Ref& tuple : tuples) {
    if (!check_count(tuple.get(), sizes.size(), roles)) return false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      auto index = static_cast<Py_ssize_t>(i);
      PyObject* array = PyTuple_GetItem(tuple.get(), index);
      spans->emplace_back();
      if (!locate(array, sizes[i], role, index, write, &spans->back())) return false;
    }
  }
  return true;
}

// `ins` and `outs` hold one tuple of arrays per replica.
inline bool Core::run(const std::vector<Ref>& ins, const std::vector<Ref>& outs) {
  std::vector<Span> sources, targets;
  if (!locate_all(outs, outputs, "output", "outputs", true, &targets)) return false;
  if (!locate_all(ins, inputs, "input", "inputs", false, &sources)) return false;
  return run_spans(sources, targets, zero_copy);
}

// Runs on memory, given replica by replica. Inputs of fewer than `in_place_from` bytes
// are copied first. At the deadline, loops that may never end are left.
inline bool Core::run_spans(const std::vector<Span>& ins, const std::vector<Span>& outs,
                            size_t in_place_from, Clock::time_point deadline) {
  std::unique_ptr<Frame> frame = take_frame();
  if (!frame) return false;
  frame->state = CallState();
  frame->state.deadline = deadline;
  bool overlap = false, ok = true;
  frame->copies.clear();
  for (size_t i = 0; ok && i < inputs.size(); ++i) {
    ok = place_input(*frame, i, ins, outs, in_place_from, &overlap);
  }
  if (ok) copy_staged(*frame);
  for (size_t r = 0; ok && r < replicas; ++r) {
    auto* words = static_cast<uint64_t*>(frame->vectors[r].get());
    for (size_t i = 0; i < outputs.size(); ++i) {
      words[i + 1] = outs[r * outputs.size() + i].begin;
    }
  }
  ok = ok && execute_frame(*frame, overlap);
  give_back(std::move(frame));
  return ok;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_RUNNER_H_
