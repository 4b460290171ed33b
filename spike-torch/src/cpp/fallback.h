// Operations that the CPU computes, as no program of the core's does.
#pragma once

#include <c10/util/flat_hash_map.h>

#include <cstdint>
#include <map>
#include <string>

namespace spike_torch {

/// What an operation says that falls back to the CPU.
enum class FallbackPolicy { kSilent, kWarn, kError };

FallbackPolicy fallback_policy();
/// Of the process. With `kWarn`, each operator is told once.
void set_fallback_policy(FallbackPolicy policy);

/// How often each operator fell back, by its name with its overload, as
/// "aten::add.Tensor".
std::map<std::string, uint64_t> fallback_counts();
void reset_fallback_counts();

}  // namespace spike_torch
