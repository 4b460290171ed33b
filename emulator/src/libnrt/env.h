// Environment variables: the documented NEURON_RT_* and our own NKIPY_EMULATOR_*.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace emulator {

/// The variable's value; nothing when it is unset or empty.
std::optional<std::string> env_text(const char* name);

/// A decimal number. Throws StatusError(NRT_INVALID), naming the variable, when it is
/// malformed or outside [low, high].
std::optional<std::uint64_t> env_number(const char* name, std::uint64_t low,
                                        std::uint64_t high);

/// 1/true/yes/on and 0/false/no/off in any case. Anything else throws, as above.
bool env_flag(const char* name, bool fallback);

/// Consecutive cores, by their number in the instance.
struct CoreRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

/// Reads "3", "0-3" or "3-5,6". Cores must increase and leave no gap.
/// Throws StatusError(NRT_INVALID) with what was wrong.
CoreRange parse_core_range(const std::string& text);

enum class EngineChoice { automatic, in_process, child };

/// What nrt_init reads, once.
struct Environment {
  std::string instance;                            // NKIPY_EMULATOR_INSTANCE
  std::optional<CoreRange> visible_cores;          // NEURON_RT_VISIBLE_CORES
  std::uint32_t number_of_cores = 0;               // NEURON_RT_NUM_CORES; 0: all
  std::optional<std::uint32_t> logical_core_size;  // NEURON_LOGICAL_NC_CONFIG
  std::optional<std::size_t> hbm_bytes;            // NKIPY_EMULATOR_HBM_BYTES, per core
  EngineChoice engine = EngineChoice::automatic;   // NKIPY_EMULATOR_ENGINE
  std::string python;                              // NKIPY_EMULATOR_PYTHON
  std::optional<std::size_t> child_memory;  // NKIPY_EMULATOR_CHILD_MEMORY_BYTES; 0: any
  std::string lock_directory;               // NKIPY_EMULATOR_LOCK_DIR
  std::string root_comm_id;                 // NEURON_RT_ROOT_COMM_ID
  std::chrono::seconds execution_timeout{600};  // NEURON_RT_EXEC_TIMEOUT
  bool fail_on_nan = false;  // NEURON_FAIL_ON_NAN, NEURON_RT_NUMERICAL_ERRORS_VERBOSITY
  bool validate_hash = false;      // NEURON_RT_VALIDATE_HASH
  bool allow_legacy_neff = false;  // NEURON_RT_ALLOW_LEGACY_NEFF

  /// Throws StatusError(NRT_INVALID) naming the first variable that is malformed.
  static Environment read();
};

}  // namespace emulator
