// The custom call of element-wise functions, answered by NumPy's loops.

#ifndef NKIPY_EMULATOR_ELEMENT_CALLS_H_
#define NKIPY_EMULATOR_ELEMENT_CALLS_H_

#include <string_view>

#include "handled_call.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// Elements to a piece of work: whole vectors, whatever their length, so that what lies
// beside each other is computed together as it is in one piece.
constexpr size_t kLeastPiece = 4096, kMostPiece = 16384;

inline size_t piece_length(size_t count, size_t threads) {
  const size_t even = (count / (threads * 8) + kLeastPiece - 1) / kLeastPiece;
  return std::clamp(even * kLeastPiece, kLeastPiece, kMostPiece);
}

inline ffi::Error wrong_call(const char* text) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, text);
}

inline ffi::Error wrong_axes() {
  return wrong_call("sizes that are not the operand's");
}

inline ffi::Error unknown_function() {
  return wrong_call("a function that is not known for such operands");
}

inline ffi::Error wrong_operands() {
  return wrong_call("a wrong number of operands, or operands that are not located");
}

// `function` of all elements. An operand of one element is that for all of the result.
inline ffi::Error element_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                               std::string_view function, ffi::RemainingArgs args,
                               ffi::Result<ffi::AnyBuffer> result) {
  const ElementFunction* found = find_function(function.data(), function.size());
  if (found == nullptr) return unknown_function();
  const auto operands = static_cast<size_t>(found->operands);
  Operand given[2];
  if (!locate(args, words, operands, given)) return wrong_operands();
  const bool is_known = found->is_of(operands, {given[0].type, given[1].type},
                                     result->element_type(), kOfElements);
  if (!is_known) return unknown_function();
  const size_t count = result->element_count();
  if (count == 0) return ffi::Error::Success();
  char* first[3];
  Py_ssize_t steps[3];
  for (size_t i = 0; i < operands; ++i) {
    const size_t elements = given[i].count;
    if (elements != count && elements != 1) return wrong_call("shapes that differ");
    first[i] = const_cast<char*>(given[i].data);
    steps[i] = static_cast<Py_ssize_t>(elements == count ? given[i].itemsize() : 0);
  }
  first[operands] = static_cast<char*>(result->untyped_data());
  steps[operands] = static_cast<Py_ssize_t>(result->size_bytes() / count);
  const Team team(pool, args, words);
  const size_t length = piece_length(count, team.threads());
  const bool done = share_work(
      team, (count + length - 1) / length,
      [&](size_t piece) {
        const size_t begin = piece * length;
        const auto size = static_cast<Py_ssize_t>(std::min(length, count - begin));
        char* arrays[3];
        for (size_t i = 0; i <= operands; ++i) {
          arrays[i] = first[i] + static_cast<Py_ssize_t>(begin) * steps[i];
        }
        found->loop(arrays, &size, steps, found->data);
      },
      true);
  return team.outcome(done);
}

XLA_FFI_DEFINE_HANDLER(kElementCall, element_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<std::string_view>("function")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ELEMENT_CALLS_H_
