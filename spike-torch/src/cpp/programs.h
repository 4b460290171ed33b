// Functions of torch tensors that compiled programs compute: one program for each
// bucket that sizes lie in.
#pragma once

#include <torch/csrc/autograd/python_variable.h>
// Comes first, as Python's own headers are to.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "padding.h"
#include "prepared_calls.h"
#include "sizes.h"

namespace spike_torch {

namespace nb = nanobind;

/// What a program takes.
struct InputSpec {
  int64_t argument;  // -1: the exact sizes, as s32[symbols]
  at::ScalarType dtype;
  std::vector<Dimension> dimensions;
  bool is_written;     // a result takes its memory
  Values permutation;  // of the argument's dimensions; none: as they are
};

/// What a program gives, row-major.
struct ResultSpec {
  at::ScalarType dtype;
  std::vector<Dimension> dimensions;
  int64_t input;  // which it is written into; -1: it has memory of its own
};

/// What a call returns.
struct ReturnSpec {
  enum class Kind { kResult, kArgument, kNumber, kNone };
  Kind kind;
  size_t index;                      // of the result or argument
  std::vector<int64_t> permutation;  // of the result's dimensions; none: as they are
  bool is_padded;                    // is returned with its bucket's sizes
  bool is_copied;                    // keeps no memory of the bucket's size
  std::optional<Expression> number;
};

struct Description {
  std::string name;
  std::vector<std::string> arguments;  // names
  std::vector<Symbol> symbols;
  std::vector<InputSpec> inputs;
  std::vector<ResultSpec> results;
  std::vector<ReturnSpec> returns;
  c10::DeviceIndex core = 0;
  bool may_compile = true;
  bool pads_on_device = true;
  bool keeps_outputs_on_device = false;
  bool is_counted = true;     // in the statistics
  bool writes = false;        // into an input
  int64_t first_tensor = -1;  // of the arguments
};

/// Any number of calls at once, or one who unloads. With Python's lock, which is given
/// up by who waits.
class CallLock {
 public:
  void enter();
  void leave();
  bool acquire(bool is_blocking);
  void release();

 private:
  template <class Ready>
  void wait(Ready is_ready);

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t running_ = 0;
  bool is_held_ = false;
};

/// The sizes of a tensor, dimension by dimension, each by its factors.
using Factors = std::vector<Values>;

/// A program for sizes of its own: nkipy's resident model, and calls of it. All but
/// `calls` with Python's lock.
class Variant {
 public:
  Variant(nb::object resident, std::vector<std::string> names,
          std::vector<Factors> inputs, std::vector<Factors> results);

  /// The model, loaded if it is not.
  nb::handle loaded(nb::handle self);
  /// What ResidentModel.enter calls with it.
  void take(nb::object model) { model_ = std::move(model); }
  /// Gives up what is of use with the loaded model alone.
  void release();
  /// It is used now: it is the last to be unloaded.
  void note_use();
  void require_fit(const Description& of) const;
  nb::object profiled(nb::handle self, int core, const Parts& parts, size_t inputs,
                      const std::string& file);

  /// Whether an input was at an address when this was last asked.
  bool was_last_at(size_t input, const void* address) {
    return last_at_[input].exchange(address, std::memory_order_relaxed) == address;
  }

  const nb::object& resident() const { return resident_; }
  const std::vector<const char*>& names() const { return pointers_; }

  CallLock lock;
  PreparedCalls calls;
  const std::vector<Factors> inputs, results;

 private:
  const nb::object resident_;
  const std::vector<std::string> names_;
  std::vector<const char*> pointers_;
  nb::object model_;
  std::vector<std::atomic<const void*>> last_at_;
};

/// What some exact sizes ask for.
struct Plan {
  Values symbols, buckets;
  double pad_ratio = 1;
  nb::object object;  // the variant
  Variant* variant = nullptr;
  std::vector<Geometry> inputs, results;
  // Which part of a call each is; what has no elements is none.
  std::vector<size_t> input_parts, result_parts;
  size_t input_part_count = 0, part_count = 0;
  Values numbers;  // of those that are returned
};

/// With Python's lock.
class Function {
 public:
  Function(Description description, nb::object compile);

  /// Values of the symbols, their buckets and the program, which is compiled if there
  /// is none.
  std::shared_ptr<const Plan> plan(const Values& symbols);
  Values buckets_of(const Values& symbols) const;
  /// `symbols` of the call that it is for, which may have to do without compiling.
  nb::object variant(const Values& buckets, const Values* symbols = nullptr);
  std::vector<Values> compiled() const;

  const Description description;
  nb::object compile;

 private:
  struct Slot;
  nb::object compiled_variant(const std::shared_ptr<Slot>& slot, const Values& buckets);
  void drop_oldest();
  [[noreturn]] void refuse_to_compile(const Values& buckets,
                                      const Values& symbols) const;

  std::map<Values, std::shared_ptr<Slot>> slots_;
  std::map<Values, std::shared_ptr<const Plan>> plans_;
  std::shared_ptr<const Plan> last_;
  uint64_t uses_ = 0;
};

/// Has padding be bytes of ones, for tests: NaN, or -1.
void set_padding_filled(bool is_filled);

/// How a function is called.
struct CallOptions {
  std::optional<Values> sizes;         // of the symbols, in place of the arguments'
  std::optional<bool> to_cpu;          // where results go
  std::optional<std::string> profile;  // a file
  bool bumps_versions = true;          // of what is written into
};

/// Calls a function: the list of what it returns.
nb::list call(Function& function, nb::handle arguments, const CallOptions& options);
/// The symbols' values in arguments.
Values read_symbols(const Description& of, const nb::tuple& arguments);

void define_programs(nb::module_& m);

}  // namespace spike_torch
