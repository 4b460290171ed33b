// The custom call that copies one of the program's inputs.

#ifndef NKIPY_EMULATOR_CHOICE_CALLS_H_
#define NKIPY_EMULATOR_CHOICE_CALLS_H_

#include <string.h>

#include "element_calls.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// So many elements of what its operand says (`locate`): one of several inputs.
inline ffi::Error copy_call(ffi::Span<const int64_t> words, int64_t elements,
                            ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  Operand from;
  if (!locate(args, words, 1, &from)) return wrong_operands();
  const size_t nbytes = from.count * from.itemsize();
  if (from.count != static_cast<size_t>(elements) ||
      from.type != result->element_type() || nbytes != result->size_bytes()) {
    return wrong_call("an input unlike the result");
  }
  memcpy(result->untyped_data(), from.data, nbytes);
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER(kCopyCall, copy_call,
                       ffi::Ffi::Bind()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("elements")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_CHOICE_CALLS_H_
