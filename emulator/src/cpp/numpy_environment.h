// The floating point environment of threads that XLA calls handlers in.

#ifndef NKIPY_EMULATOR_NUMPY_ENVIRONMENT_H_
#define NKIPY_EMULATOR_NUMPY_ENVIRONMENT_H_

#include <fenv.h>

namespace nkipy {

// The floating point environment that NumPy computes in, while it lives. XLA's threads
// flush subnormal numbers to zero; and what is raised here is seen by nobody outside.
class NumpyEnvironment {
 public:
  NumpyEnvironment() {
    fegetenv(&outside_);
    fesetenv(FE_DFL_ENV);
  }
  ~NumpyEnvironment() { fesetenv(&outside_); }
  NumpyEnvironment(const NumpyEnvironment&) = delete;

 private:
  fenv_t outside_;
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_NUMPY_ENVIRONMENT_H_
