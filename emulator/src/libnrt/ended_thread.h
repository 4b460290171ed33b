// Threads that Python ends. Before 3.14, one that asks for the interpreter's lock when
// that has ended is ended itself, by unwinding its stack. That goes through destructors
// and handlers of exceptions, jaxlib's and ours, which aborts the process.

#pragma once

#include <cxxabi.h>
#include <unistd.h>

namespace emulator {

[[noreturn]] inline void stop_for_good() {
  for (;;) pause();
}

// Does what may take the interpreter's lock. A thread that Python ends for it stops
// here. What is thrown then has no object, which sanitizers object to.
template <typename Action>
__attribute__((no_sanitize("null"))) auto or_stop(Action action) {
  try {
    return action();
  } catch (abi::__forced_unwind&) {
    stop_for_good();
  }
}

}  // namespace emulator
