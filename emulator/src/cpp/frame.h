// What one call of an executable needs for itself.

#ifndef NKIPY_EMULATOR_FRAME_H_
#define NKIPY_EMULATOR_FRAME_H_

#include <stddef.h>

#include <vector>

#include "../libnrt/copy.h"
#include "custom_calls.h"
#include "exit_gate.h"
#include "python_support.h"

namespace nkipy {

// Staging memory per parameter and replica with the XLA
// arrays over it, and the call vectors. Frames are reused; one call has one at a time.
struct Frame {
  std::vector<std::vector<Memory>> staging;  // [parameter][replica], empty until used
  std::vector<Ref> staged;                   // XLA array per parameter, null until used
  std::vector<Memory> vectors;               // [replica]
  std::vector<emulator::Copy> copies;        // into staging, for the call under way
  Ref arguments;                             // the list that execute gets
  Ref results;                               // of the call that has ended
  size_t staged_bytes = 0;
  CallState state;
  std::vector<Replica> replicas;
  bool abandoned = false;  // replicas may still be running: never to be freed
};

// Runs all replicas: the results, which nobody wants, or null with an exception set.
inline PyObject* call_xla(PyObject* execute, Frame& frame) {
  PyObject* results = or_stop([&] {
    return PyObject_CallFunctionObjArgs(execute, frame.arguments.get(), nullptr);
  });
  frame.abandoned = results == nullptr && frame.vectors.size() > 1;
  return results;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_FRAME_H_
