// Programs that need no XLA: the calling thread runs them on the arrays of a call.

#ifndef NKIPY_EMULATOR_DIRECT_PROGRAM_H_
#define NKIPY_EMULATOR_DIRECT_PROGRAM_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

#include "exit_gate.h"
#include "numpy_environment.h"
#include "python_support.h"

namespace nkipy {

// From how many elements on other threads may run in Python meanwhile.
constexpr size_t kElementsWithLock = 4096;

class DirectProgram {
 public:
  // What it takes, or makes.
  struct Array {
    size_t itemsize, nbytes;
  };

  virtual ~DirectProgram() = default;

  // Whether its inputs and outputs have so many bytes.
  bool is_of(const std::vector<size_t>& inputs,
             const std::vector<size_t>& outputs) const {
    const auto has = [](const Array& array, size_t nbytes) {
      return array.nbytes == nbytes;
    };
    return std::equal(inputs_.begin(), inputs_.end(), inputs.begin(), inputs.end(),
                      has) &&
           std::equal(outputs_.begin(), outputs_.end(), outputs.begin(), outputs.end(),
                      has);
  }

  // With the interpreter's lock held. False with an exception set. Arrays may lie
  // anywhere: what is not at a multiple of its elements' size, or is written to while
  // something is still read there, is copied.
  bool run(const std::vector<Span>& ins, const std::vector<Span>& outs) const {
    std::vector<Memory> aside;
    std::vector<const char*> from;
    std::vector<char*> to;
    for (size_t i = 0; i < ins.size(); ++i) {
      const auto* data = reinterpret_cast<const char*>(ins[i].begin);
      if (ins[i].begin % inputs_[i].itemsize != 0) {
        aside.push_back(allocate(ins[i].size));
        data = static_cast<char*>(memcpy(aside.back().get(), data, ins[i].size));
      }
      from.push_back(data);
    }
    for (size_t i = 0; i < outs.size(); ++i) {
      auto* data = reinterpret_cast<char*>(outs[i].begin);
      if (outs[i].begin % outputs_[i].itemsize != 0 ||
          overlaps_another(outs[i], ins, outs)) {
        aside.push_back(allocate(outs[i].size));
        data = static_cast<char*>(aside.back().get());
      }
      to.push_back(data);
    }
    std::string error;
    PyThreadState* thread = lets_others_in_ ? PyEval_SaveThread() : nullptr;
    const bool done = compute_here(from, to, &error);
    for (size_t i = 0; done && i < outs.size(); ++i) {
      auto* data = reinterpret_cast<char*>(outs[i].begin);
      if (data != to[i]) memcpy(data, to[i], outs[i].size);
    }
    if (thread != nullptr) restore_thread(thread);
    if (done) return true;
    if (error.empty()) {
      PyErr_NoMemory();
    } else {
      PyErr_SetString(PyExc_RuntimeError, error.c_str());
    }
    return false;
  }

 protected:
  // `elements`: how many are computed.
  DirectProgram(std::vector<Array> inputs, std::vector<Array> outputs, size_t elements)
      : inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        lets_others_in_(elements >= kElementsWithLock) {}

  // Without the interpreter's lock, or with it. False with a text, or without memory;
  // then it may have thrown bad_alloc as well.
  virtual bool compute(const std::vector<const char*>& from,
                       const std::vector<char*>& to, std::string* error) const = 0;

 private:
  bool compute_here(const std::vector<const char*>& from, const std::vector<char*>& to,
                    std::string* error) const {
    const NumpyEnvironment environment;
    try {
      return compute(from, to, error);
    } catch (const std::bad_alloc&) {
      error->clear();
      return false;
    }
  }

  static bool overlaps_another(const Span& out, const std::vector<Span>& ins,
                               const std::vector<Span>& outs) {
    for (const Span& in : ins) {
      if (in.overlaps(out)) return true;
    }
    for (const Span& other : outs) {
      if (&other != &out && other.overlaps(out)) return true;
    }
    return false;
  }

  const std::vector<Array> inputs_, outputs_;
  const bool lets_others_in_;
};

// Of a program: how many threads, at the most, that may work for it, or 0 if it is no
// number of threads.
inline size_t threads_in(Py_ssize_t number) {
  constexpr Py_ssize_t kMostThreads = 4096;
  return number < 1 ? 0 : static_cast<size_t>(std::min(number, kMostThreads));
}

// The numbers in a tuple; with an exception set if there are others in it.
inline std::vector<size_t> numbers_in(PyObject* tuple) {
  std::vector<size_t> found;
  for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); ++i) {
    found.push_back(PyLong_AsSize_t(PyTuple_GetItem(tuple, i)));
  }
  return found;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_DIRECT_PROGRAM_H_
