// Operations that the CPU computes, as no program of the core's does.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdint>
#include <map>
#include <string>

namespace spike_torch {

/// What an operation says that falls back to the CPU.
enum class FallbackPolicy { kLog, kWarn, kSilent, kError };

FallbackPolicy fallback_policy();
/// Of the process. With `kLog` and `kWarn`, each operator is told once.
void set_fallback_policy(FallbackPolicy policy);
/// What logs an operator that falls back, once for each.
void set_fallback_log(void (*log)(const std::string& name));

/// Has a program compute what is on a stack. False if none does: then a kernel of ours
/// is to have the CPU compute it, which is counted and told, or refused.
bool run_or_tell(const c10::OperatorHandle& op, c10::DeviceIndex device,
                 torch::jit::Stack* stack);

/// How often each operator fell back, by its name with its overload, as
/// "aten::add.Tensor".
std::map<std::string, uint64_t> fallback_counts();
void reset_fallback_counts();
/// The same of what a program of the core's computed instead.
std::map<std::string, uint64_t> program_counts();
void reset_program_counts();

}  // namespace spike_torch
