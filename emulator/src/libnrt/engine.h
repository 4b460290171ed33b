// The engine: what compiles and runs programs. It lives in this process, with a Python
// interpreter that is there anyway, or in a child process.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "debug_stream.h"
#include "env.h"
#include "memory.h"

namespace emulator {

/// The Python package that the engine is in.
inline constexpr char kEnginePackage[] = "nkipy_emulator";

/// An input or output of a program.
struct TensorSpec {
  std::string name;
  std::string dtype;  // NumPy's or ml_dtypes' name: "float32", "bfloat16"
  std::vector<std::uint32_t> shape;
  std::size_t bytes = 0;
};

/// What a program is, as its NEFF says.
struct ProgramDescription {
  std::string name;
  std::string target;
  std::uint32_t logical_core_size = 1;
  std::uint32_t ranks = 1;  // that one execution runs; 1 for those that do not talk
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<std::pair<std::size_t, std::size_t>> aliases;  // output, input
  std::size_t program_bytes = 0;                             // of device memory

  /// Throws StatusError(NRT_FAILURE) if `json` is not what the engine writes.
  static ProgramDescription parse(const std::string& json);
};

/// The cost model's account of one execution.
struct CostEstimate {
  std::uint64_t total_ns = 0;
  std::uint64_t switch_ns = 0;  // before it, on a core that another program ran on
  std::string timeline;         // one line per event, see profile_timeline.h

  /// Throws StatusError(NRT_FAILURE) if `json` is not what the engine writes.
  static CostEstimate parse(const std::string& json);
};

/// Where a program is to be loaded.
struct LoadSettings {
  std::string target;
  std::uint32_t logical_core_size = 1;
  std::uint32_t rank = 0;
  std::uint32_t ranks = 1;
  std::string root_comm_id;             // where ranks of several processes meet
  std::chrono::milliseconds timeout{};  // how long one waits for others
  bool peers_reachable = true;          // all ranks fit into this process
  bool validate_hash = false;
  bool allow_legacy_neff = false;
  bool fail_out_of_bounds = false;

  std::string to_json() const;
};

/// Ranks that exchange something outside of programs.
struct Meeting {
  std::string function;      // which one brings them together
  std::string root_comm_id;  // where they meet
  std::uint32_t rank = 0;
  std::uint32_t ranks = 1;
  std::chrono::milliseconds timeout{};

  std::string to_json() const;
};

/// Memory of one input or output.
struct Place {
  std::byte* address = nullptr;
  std::uint64_t shared_offset = Backing::kNotShared;
  std::size_t size = 0;
};

/// Where what a program prints goes: the cores of its ranks.
class Printer {
 public:
  explicit Printer(std::vector<int> cores) : cores_(std::move(cores)) {}
  /// Puts a tensor into the stream of a rank's core. One that cannot be printed is
  /// left out: the program goes on.
  void operator()(std::uint32_t rank,
                  const debug_stream::DebugTensor& tensor) const noexcept;

 private:
  std::vector<int> cores_;
};

/// A loaded program. Destroying it unloads it; nobody may be executing it then.
class Program {
 public:
  explicit Program(ProgramDescription description)
      : description_(std::move(description)) {}
  virtual ~Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const ProgramDescription& description() const noexcept { return description_; }

  /// Made when it is first asked for, since most programs run unobserved. Where it
  /// cannot be made, the log says why, and it is empty.
  std::shared_ptr<const CostEstimate> cost();

  /// Runs once. Places come in the description's order, rank after rank. Outputs may
  /// overlap inputs; they are written when all inputs have been read, and not at all if
  /// it fails. May be called from several threads. Throws StatusError, and Interrupted:
  /// inputs may still be read then, for as long as there is a share of `user`, which
  /// has to keep them and this program. `printer` takes what is printed until then.
  virtual void execute(const std::vector<Place>& inputs,
                       const std::vector<Place>& outputs,
                       const std::shared_ptr<const void>& user,
                       const Printer& printer) = 0;

 private:
  /// The estimate as JSON text. Throws StatusError.
  virtual std::string estimate() = 0;

  ProgramDescription description_;
  std::mutex mutex_;
  std::shared_ptr<const CostEstimate> cost_;  // guarded by mutex_
};

class Engine {
 public:
  virtual ~Engine() = default;
  /// Throws StatusError with the reason.
  virtual std::shared_ptr<Program> load(const void* neff, std::size_t size,
                                        const LoadSettings& settings) = 0;
  /// Gives each rank the `size` bytes of all, one after the other. Throws StatusError,
  /// Interrupted.
  virtual void all_gather(const Meeting& meeting, const void* data, std::size_t size,
                          void* result) = 0;
};

class Session;

/// The engine that the session's environment asks for. Throws StatusError(NRT_FAILURE)
/// if it cannot be had.
std::shared_ptr<Engine> make_engine(Session& session);

/// The engine in this process.
std::shared_ptr<Engine> make_python_engine(const Environment& environment);

/// The engine in a child process that shares `memory`, which outlives it.
std::shared_ptr<Engine> make_child_engine(const Environment& environment,
                                          Memory& memory);

}  // namespace emulator
