// Calls of a program that are ready to be executed again, by the memory that they use.
//
// They hold parts of memory, which goes when they go: who gives memory back to libnrt
// has them forgotten before.
#pragma once

#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>

#include <memory>
#include <string>
#include <vector>

#include "pool.h"

namespace spike_torch {

/// Memory of an input or output: `tensor` tells apart what was at an address in one
/// runtime from what is there in another. Without one, it is the host's own.
struct Part {
  SpikeTensor* tensor;
  size_t offset;  // of `tensor`, in bytes
  uintptr_t address;
  size_t size;

  bool operator==(const Part& other) const {
    return address == other.address && tensor == other.tensor && size == other.size;
  }
};
/// Of the inputs, in their order, and then of the outputs.
using Parts = c10::SmallVector<Part, 24>;

/// What libnrt knows a part by, or null.
using Slice = std::shared_ptr<SpikeTensor>;
/// On a core. Null after a failure, of which spike has the text.
Slice slice_of(const Part& part, int core, int* status);

/// A call on some parts, which it has a share of each of.
class PreparedCall {
 public:
  /// Returns a status of spike's: without success, it is none. `like`, or null, is one
  /// of the same program, with which it shares what is the same.
  static int make(const SpikeModel* model, int core,
                  const std::vector<const char*>& names, size_t inputs,
                  const Parts& parts, const PreparedCall* like,
                  std::shared_ptr<const PreparedCall>* made);
  ~PreparedCall();
  PreparedCall(const PreparedCall&) = delete;

  const Parts& parts() const { return parts_; }
  int execute() const { return spike().call_execute(call_); }

 private:
  explicit PreparedCall(const Parts& parts) : parts_(parts) {}
  int slice(int core, const PreparedCall* like);

  Parts parts_;
  std::vector<Slice> slices_;
  SpikeCall* call_ = nullptr;
};

/// Those of one program, the last used first. Any thread may call its methods.
class PreparedCalls {
 public:
  PreparedCalls();
  ~PreparedCalls();
  PreparedCalls(const PreparedCalls&) = delete;

  std::shared_ptr<const PreparedCall> find(const Parts& parts);
  /// The one that was used last, or null.
  std::shared_ptr<const PreparedCall> last();
  void add(std::shared_ptr<const PreparedCall> call);
  void clear();
  size_t size();

 private:
  friend void forget_calls_on(uintptr_t address, size_t size);
  std::vector<std::shared_ptr<const PreparedCall>> calls_;
};

/// Memory that is about to be given back: no prepared call may keep it.
void forget_calls_on(uintptr_t address, size_t size);

}  // namespace spike_torch
