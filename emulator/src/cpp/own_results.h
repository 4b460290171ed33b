// Results in memory of XLA's own, which the caller gets instead of a copy.

#ifndef NKIPY_EMULATOR_OWN_RESULTS_H_
#define NKIPY_EMULATOR_OWN_RESULTS_H_

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "exit_gate.h"
#include "python_support.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// An array of XLA's. Only who is past the gate may free one: jaxlib gives up the
// interpreter's lock meanwhile, which a thread that the end of the interpreter stops
// never gets back. What nobody may free any more stays: so in a forked child, which may
// have a lock of XLA's that no thread of it will ever open.
struct OwnedArray {
  Ref array;
  pid_t process;

  ~OwnedArray() {
    if (process == getpid() && exit_gate.enter()) {
      array = Ref();
      exit_gate.leave();
    } else {
      array.release();
    }
  }
};

constexpr char kOwnedCapsule[] = "nkipy_emulator.owned_array";

// own(array): a capsule that keeps an array of XLA's, and frees it as OwnedArray says.
inline PyObject* own(PyObject*, PyObject* array) {
  auto owned = std::unique_ptr<OwnedArray>(new OwnedArray{share(array), getpid()});
  PyObject* capsule = PyCapsule_New(owned.get(), kOwnedCapsule, [](PyObject* c) {
    delete static_cast<OwnedArray*>(PyCapsule_GetPointer(c, kOwnedCapsule));
  });
  if (capsule != nullptr) owned.release();
  return capsule;
}

// Leaves its result as it is, but for asking the system for large pages, of which
// memory that is written for the first time needs fewer: as NumPy does.
inline ffi::Error blank(ffi::Result<ffi::AnyBuffer> memory) {
#ifdef MADV_HUGEPAGE
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(memory->untyped_data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t end = (begin + memory->size_bytes()) / page * page;
  if (first < end) {
    (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
  }
#endif
  (void)memory;
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(kBlank, blank, ffi::Ffi::Bind().Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_OWN_RESULTS_H_
