// Operations, one at a time, that programs of the core's compute.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/Device.h>
#include <c10/util/ArrayRef.h>

#include <atomic>
#include <cstdint>

namespace spike_torch {

/// Who computes an operation: the CPU; a program, from its first use on; or a program
/// from its second use on, as long as most of the operator's are used often.
enum class ExecutionMode { kFallback, kDevice, kAuto };

ExecutionMode execution_mode();
/// Of the process.
void set_execution_mode(ExecutionMode wanted);

/// What is known of the programs of an operator.
struct OperatorPrograms {
  OperatorPrograms(const c10::OperatorHandle& op, c10::ArrayRef<int> writes,
                   c10::ArrayRef<int> returns);

  /// Whether there may be any: false once it is known that there is no lowering.
  std::atomic<bool> may_be{true};
  /// How often one ran.
  std::atomic<uint64_t> count{0};
  /// How many there are that ran seldom until now.
  std::atomic<size_t> seldom{0};
  const c10::SmallVector<int, 2> writes;   // arguments
  const c10::SmallVector<int, 2> returns;  // for each result an argument, or -1
  bool reads_written = false;              // what was written to is an argument as well
};

/// What became of a call: a program ran; there is none; or there may be one, the next
/// time or for who wants one in any case.
enum class Tried { kRan, kNone, kNotNow };

/// Has a program compute what is on a stack, as the process's execution says. If none
/// ran, nothing is changed. Takes Python's lock.
Tried run_program(const c10::OperatorHandle& op, OperatorPrograms& programs,
                  c10::DeviceIndex device, torch::jit::Stack* stack);

/// The same, at the cost of a look where there is none.
inline Tried try_program(const c10::OperatorHandle& op, OperatorPrograms& programs,
                         c10::DeviceIndex device, torch::jit::Stack* stack) {
  if (execution_mode() == ExecutionMode::kFallback ||
      !programs.may_be.load(std::memory_order_relaxed))
    return Tried::kNone;
  return run_program(op, programs, device, stack);
}

/// How many calls are known: those with a program, and those without.
size_t known_calls();
/// Forgets all calls and their programs.
void forget_calls();

}  // namespace spike_torch
