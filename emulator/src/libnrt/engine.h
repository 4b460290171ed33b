// What executes programs. Adapters: in this process's Python, or in a child's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "env.h"
#include "memory.h"
#include "nrt/nrt.h"
#include "tensor.h"

namespace emulator {

class Session;

/// One input or output of a program.
struct TensorDescription {
  std::string name;
  nrt_dtype_t dtype = NRT_DTYPE_UNKNOWN;
  std::size_t size = 0;  // bytes
  std::vector<std::uint32_t> shape;
};

/// The output with index `output` is the input with index `input`, changed.
struct AliasDescription {
  std::size_t output = 0;
  std::size_t input = 0;
};

/// What a NEFF says about itself, in its own order.
struct ProgramDescription {
  std::vector<TensorDescription> inputs;
  std::vector<TensorDescription> outputs;
  std::vector<AliasDescription> aliases;
  std::string target;  // "trn2"
  std::uint32_t logical_core_size = 1;
  std::int64_t estimated_ns = 0;  // of one execution, by the cost model
  std::string timeline_json;      // the estimate, instruction by instruction
};

/// What an execution tells besides its results.
struct ExecutionReport {
  bool has_nan = false;  // looked for only if asked to
};

/// A loaded program. execute() may be called from many threads.
class Program {
 public:
  virtual ~Program() = default;
  virtual const ProgramDescription& description() const noexcept = 0;
  /// Views have the described sizes, in the described order; outputs may be inputs.
  /// Throws StatusError.
  virtual ExecutionReport execute(const std::vector<TensorView>& inputs,
                                  const std::vector<TensorView>& outputs) = 0;
};

/// How to load: read from the environment inside nrt_load.
struct LoadOptions {
  bool check_nan = false;
  bool stochastic_rounding = false;
  std::uint64_t stochastic_rounding_seed = 0;
  bool validate_hash = false;
};

class Engine {
 public:
  virtual ~Engine() = default;
  /// Throws StatusError: NRT_INVALID for a bad NEFF, NRT_UNSUPPORTED_NEFF_VERSION, …
  virtual std::unique_ptr<Program> load(const void* neff, std::size_t size,
                                        const LoadOptions& options) = 0;
};

/// Starts the engine that the session's environment asks for (resolve_engine).
/// Throws StatusError.
std::shared_ptr<Engine> make_engine(Session& session);

}  // namespace emulator
