// Reductions of the operands of several ranks: one order, which is that of the group.

#ifndef NKIPY_EMULATOR_COLLECTIVE_REDUCTION_H_
#define NKIPY_EMULATOR_COLLECTIVE_REDUCTION_H_

#include <stddef.h>

#include <vector>

#include "xla/ffi/api/ffi.h"

namespace nkipy {

// target[i] = (((source_0[i] op source_1[i]) op source_2[i]) ...), for `count`
// elements.
using Reduce = void (*)(char* target, const std::vector<const char*>& sources,
                        size_t count);

// HLO's opcode of two operands, and the type of elements. Null if there is none for
// them. Of two numbers of which one is NaN, minimum and maximum are NaN.
Reduce find_reduction(std::string_view opcode, xla::ffi::DataType dtype);

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_COLLECTIVE_REDUCTION_H_
