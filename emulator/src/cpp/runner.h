// The call path: hands NumPy arrays to an XLA executable, with what it needs kept
// ready.

#ifndef NKIPY_EMULATOR_RUNNER_H_
#define NKIPY_EMULATOR_RUNNER_H_

#include <string.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "apart_call.h"
#include "custom_calls.h"
#include "direct_program.h"
#include "exit_gate.h"
#include "frame.h"
#include "python_support.h"

namespace nkipy {

constexpr size_t kMaxImports = 4096;
constexpr size_t kReleaseGilFrom = size_t{1} << 20;
constexpr size_t kMaxPooledBytes = size_t{64} << 20;
// What takes less runs in the calling thread, where nothing can end it: a signal may
// wait for so long. Another thread costs a tenth of a millisecond.
constexpr std::chrono::milliseconds kQuick{50};

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

// Keeps what a call reads and writes for as long as its result lives.
using Keep = std::function<std::shared_ptr<void>()>;

struct Core {
  Ref execute;        // execute(list of arrays): runs all replicas, done on return
  Ref apart;          // apart(function, seconds): calls it on another thread; or None
  Ref import_memory;  // import_memory(tuple of addresses, nbytes) -> array
  std::vector<size_t> inputs, outputs;  // bytes of each
  // Of an input that the program reads through a slice, the bytes of an element; else
  // 0. The program takes such a one for kAlignment bytes larger than it is.
  std::vector<size_t> steps;
  Ref constants;                     // the last inputs, a tuple of arrays
  std::vector<Span> constant_spans;  // where they lie
  std::vector<bool> own;             // outputs that an execution has memory for itself
  Ref take;    // take(results): makes of an execution's results what the caller gets
  Ref blanks;  // for each large one of its own: blank() -> array, which it becomes
  std::unique_ptr<DirectProgram> direct;  // what runs in the place of `execute`
  std::shared_ptr<Seat> seat;             // in the world that its collectives are among
  std::optional<Clock::duration> patience;  // of an execution that waits for others
  size_t replicas = 1;
  size_t zero_copy = 0;  // inputs from this size on are read in place if aligned
  std::vector<std::unique_ptr<Frame>> frames;
  size_t pooled_bytes = 0;
  bool is_quick = false;  // as its last execution was: not known before the first
  // Whether this thread's last call has failed for what a handler of a signal has
  // raised. The interpreter's lock is given up before anybody asks: arrays are freed.
  inline static thread_local bool is_interrupted = false;
  // Arrays over callers' memory. They own nothing and are only used while the caller
  // holds that memory, so an entry for memory that was freed is harmless.
  std::map<std::vector<uint64_t>, Ref> imports;

  // How many inputs a call gets.
  size_t given() const { return inputs.size() - constant_spans.size(); }
  size_t declared(size_t parameter) const {
    return inputs[parameter] + (steps[parameter] != 0 ? kAlignment : 0);
  }
  Ref import_at(const std::vector<uint64_t>& addresses, size_t nbytes);
  std::unique_ptr<Frame> take_frame();
  void give_back(std::unique_ptr<Frame> frame);
  PyObject* imported(const std::vector<Span>& spans, size_t nbytes);
  PyObject* stage(Frame& frame, size_t parameter, const std::vector<Span>& spans);
  bool run(const std::vector<Ref>& ins, const std::vector<Ref>& outs, const Keep& keep,
           Ref* results = nullptr);
  bool run_spans(const std::vector<Span>& ins, const std::vector<Span>& outs,
                 size_t in_place_from, const Keep& keep,
                 Clock::time_point deadline = kNoDeadline,
                 const nkipy_printer* printer = nullptr, Ref* results = nullptr);
  bool place_input(Frame& frame, size_t parameter, const std::vector<Span>& ins,
                   const std::vector<Span>& outs, size_t in_place_from, bool* overlap);
  bool place_blanks(Frame& frame);
  bool execute_frame(std::unique_ptr<Frame>& frame, const Keep& keep);
  bool execute_apart(std::unique_ptr<Frame>& frame, const Keep& keep);
  bool finish(Frame& frame, Ref results, Clock::duration taken);
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
  frame->replicas.resize(replicas);
  frame->arguments = Ref(PyList_New(0));
  if (!frame->arguments) return nullptr;
  const auto blank = static_cast<size_t>(PyTuple_Size(blanks.get()));
  for (size_t i = 0; i < inputs.size() + 1 + blank; ++i) {  // no item may be null
    if (PyList_Append(frame->arguments.get(), Py_None) != 0) return nullptr;
  }
  size_t nbytes = (outputs.size() + 2 * inputs.size() + 2) * sizeof(uint64_t);
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

// An array over the callers' own memory, from the aligned address below it on, of
// `nbytes`. What is not theirs of it, before (in the page of their first byte) and
// behind, no program reads. Borrowed; null with an exception set.
inline PyObject* Core::imported(const std::vector<Span>& spans, size_t nbytes) {
  std::vector<uint64_t> key;
  for (const Span& span : spans) key.push_back(span.begin / kAlignment * kAlignment);
  key.push_back(nbytes);
  auto found = imports.find(key);
  if (found != imports.end()) return found->second.get();
  if (imports.size() >= kMaxImports) {
    // jaxlib lets other threads in when it frees one.
    std::map<std::vector<uint64_t>, Ref> old;
    old.swap(imports);
  }
  std::vector<uint64_t> addresses(key.begin(), key.end() - 1);
  Ref array = import_at(addresses, nbytes);
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
      memory.push_back(allocate(declared(parameter)));
      addresses.push_back(reinterpret_cast<uint64_t>(memory.back().get()));
    }
    Ref array = import_at(addresses, declared(parameter));
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

// Puts the array for one parameter into the frame's argument list. Large inputs that
// are aligned, or that the program reads through a slice, are read in place, unless
// another replica writes a result there; one that this call itself writes to is left to
// store_overlapping.
inline bool Core::place_input(Frame& frame, size_t parameter,
                              const std::vector<Span>& ins,
                              const std::vector<Span>& outs, size_t in_place_from,
                              bool* overlap) {
  auto index = static_cast<Py_ssize_t>(parameter);
  bool in_place = inputs[parameter] >= in_place_from;
  bool overlapped = false;
  std::vector<Span> spans(replicas);
  for (size_t r = 0; r < replicas; ++r) {
    spans[r] = parameter < given() ? ins[r * given() + parameter]
                                   : constant_spans[parameter - given()];
    const size_t step = steps[parameter] != 0 ? steps[parameter] : kAlignment;
    in_place = in_place && spans[r].begin % kAlignment % step == 0;
    for (size_t o = 0; in_place && o < outs.size(); ++o) {
      if (!spans[r].overlaps(outs[o])) continue;
      overlapped = true;
      in_place = replicas == 1;
    }
  }
  PyObject* array =
      in_place ? imported(spans, declared(parameter)) : stage(frame, parameter, spans);
  if (array == nullptr) return false;
  const size_t step = steps[parameter];
  for (size_t r = 0; r < replicas; ++r) {
    auto* words = static_cast<uint64_t*>(frame.vectors[r].get()) + 1 + outputs.size();
    void* staged = in_place ? nullptr : frame.staging[parameter][r].get();
    words[inputs.size() + parameter] =
        in_place ? spans[r].begin : reinterpret_cast<uint64_t>(staged);
    words[parameter] = in_place && step != 0 ? spans[r].begin % kAlignment / step : 0;
  }
  *overlap = *overlap || (in_place && overlapped);
  if (PyList_GetItem(frame.arguments.get(), index) == array) return true;
  Py_INCREF(array);
  return PyList_SetItem(frame.arguments.get(), index, array) == 0;
}

// Gives the program new memory for large results of its own. What it got for the last
// call has become a result.
inline bool Core::place_blanks(Frame& frame) {
  for (Py_ssize_t i = 0; i < PyTuple_Size(blanks.get()); ++i) {
    PyObject* make = PyTuple_GetItem(blanks.get(), i);
    PyObject* memory =
        or_stop([&] { return PyObject_CallFunctionObjArgs(make, nullptr); });
    const auto place = static_cast<Py_ssize_t>(inputs.size()) + 1 + i;
    if (memory == nullptr) return false;
    if (PyList_SetItem(frame.arguments.get(), place, memory) != 0) return false;
  }
  return true;
}

// What is not known to be quick runs where it can be left; it then takes the frame.
inline bool Core::execute_frame(std::unique_ptr<Frame>& frame, const Keep& keep) {
  if (!is_quick && apart.get() != Py_None) return execute_apart(frame, keep);
  const Clock::time_point start = Clock::now();
  Ref results(call_xla(execute.get(), *frame));
  return finish(*frame, std::move(results), Clock::now() - start);
}

inline bool Core::execute_apart(std::unique_ptr<Frame>& frame, const Keep& keep) {
  const Clock::time_point deadline = frame->state.deadline;
  Ref seconds = seconds_until(deadline);
  if (!seconds) return false;
  Ref capsule = ApartCall::make(execute.get(), keep(), std::move(frame));
  Ref function = ApartCall::function(capsule.get());
  if (!function) return false;
  ApartCall* call = ApartCall::of(capsule.get());
  Ref results(or_stop([&] {
    return PyObject_CallFunctionObjArgs(apart.get(), function.get(), seconds.get(),
                                        nullptr);
  }));
  if (!call->has_ended()) {
    call->leave();
    is_interrupted =
        Clock::now() < deadline || !PyErr_ExceptionMatches(PyExc_TimeoutError);
    if (!is_interrupted) set_timeout_error();
    return false;
  }
  is_interrupted = !results && !call->has_failed();
  frame = call->take_frame();
  return finish(*frame, std::move(results), call->taken());
}

// Whether an execution has succeeded, which returned `results`; else an exception is
// set.
inline bool Core::finish(Frame& frame, Ref results, Clock::duration taken) {
  is_quick = taken < kQuick;
  CallState& state = frame.state;
  if (state.error != nullptr) {
    PyErr_Clear();
    raise(std::exchange(state.error, nullptr));
    return false;
  }
  if (!results) {
    state.failed = true;  // replicas that go on do not print
    translate_error();
    return false;
  }
  if (state.out_of_bounds) {
    PyErr_SetString(out_of_bounds_error,
                    "an index of a gather, scatter or dynamic slice is out of bounds");
    return false;
  }
  frame.results = std::move(results);
  return true;
}

// Where the first `count` arrays of all replicas lie, replica by replica. One that is
// `optional` may be None, which lies nowhere.
inline bool locate_all(const std::vector<Ref>& tuples, const std::vector<size_t>& sizes,
                       size_t count, const char* role, const char* roles, bool write,
                       const std::vector<bool>* optional, std::vector<Span>* spans) {
  for (const Ref& tuple : tuples) {
    if (!check_count(tuple.get(), count, roles)) return false;
    for (size_t i = 0; i < count; ++i) {
      auto index = static_cast<Py_ssize_t>(i);
      PyObject* array = PyTuple_GetItem(tuple.get(), index);
      spans->emplace_back();
      if (optional != nullptr && (*optional)[i] && array == Py_None) continue;
      if (!locate(array, sizes[i], role, index, write, &spans->back())) return false;
    }
  }
  return true;
}

// `ins` and `outs` hold one tuple of arrays per replica. With `results`, which become
// those of the execution, outputs that it has memory for may be None.
inline bool Core::run(const std::vector<Ref>& ins, const std::vector<Ref>& outs,
                      const Keep& keep, Ref* results) {
  std::vector<Span> sources, targets;
  const std::vector<bool>* optional = results != nullptr ? &own : nullptr;
  if (!locate_all(outs, outputs, outputs.size(), "output", "outputs", true, optional,
                  &targets) ||
      !locate_all(ins, inputs, given(), "input", "inputs", false, nullptr, &sources)) {
    return false;
  }
  const auto deadline = patience ? Clock::now() + *patience : kNoDeadline;
  return run_spans(sources, targets, zero_copy, keep, deadline, nullptr, results);
}

// Runs on memory, given replica by replica. Inputs of fewer than `in_place_from` bytes
// are copied first. At the deadline, or if a handler of a signal raises, what is not
// quick is left: it goes on, on memory that `keep` keeps, and stores nothing.
inline bool Core::run_spans(const std::vector<Span>& ins, const std::vector<Span>& outs,
                            size_t in_place_from, const Keep& keep,
                            Clock::time_point deadline, const nkipy_printer* printer,
                            Ref* results) {
  is_interrupted = false;
  if (direct) {
    if (direct->run(ins, outs)) return true;
    translate_error();
    return false;
  }
  std::unique_ptr<Frame> frame = take_frame();
  if (!frame) return false;
  frame->state.begin(deadline, printer);
  frame->state.seat = seat.get();
  if (seat && seat->limit().count() != 0) {
    frame->state.wait_until = std::min(deadline, Clock::now() + seat->limit());
  }
  frame->state.is_awaited = replicas > 1 || seat;
  bool overlap = false, ok = true;
  frame->copies.clear();
  for (size_t i = 0; ok && i < inputs.size(); ++i) {
    ok = place_input(*frame, i, ins, outs, in_place_from, &overlap);
  }
  ok = ok && place_blanks(*frame);
  if (ok) copy_staged(*frame);
  for (size_t r = 0; ok && r < replicas; ++r) {
    auto* words = static_cast<uint64_t*>(frame->vectors[r].get());
    frame->replicas[r] = {&frame->state, static_cast<uint32_t>(r)};
    words[0] = reinterpret_cast<uint64_t>(&frame->replicas[r]);
    for (size_t i = 0; i < outputs.size(); ++i) {
      words[i + 1] = outs[r * outputs.size() + i].begin;
    }
  }
  frame->state.overlap = overlap;
  ok = ok && execute_frame(frame, keep);
  if (frame) {
    Ref made = std::move(frame->results);
    if (results != nullptr) *results = std::move(made);
  }
  if (frame) give_back(std::move(frame));
  return ok;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_RUNNER_H_
