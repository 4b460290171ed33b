// The interface to the runtime that Python sees as `Spike`.
#pragma once

#include "async_execution.h"
#include "trace.h"

namespace spike {

/// Opens the runtime, and makes tensors and models in it. Destroying a Spike lets the
/// runtime go on for as long as there are tensors or models; closing it does not.
class Spike {
 public:
  explicit Spike(std::shared_ptr<const NrtApi> api)
      : runtime_(Runtime::open(std::move(api))) {}

  void close() noexcept { runtime_->close(); }
  bool is_closed() const noexcept { return !runtime_->is_open(); }
  const std::shared_ptr<Runtime>& runtime() const { return runtime_; }

  /// Bytes used and bytes that there are in the device memory of a core.
  std::pair<size_t, size_t> memory_stats(uint32_t core_id) const;

  /// `object`, a tensor or model, if it is of this instance. Throws SpikeError if not.
  template <class Object>
  Object& own(Object& object) const {
    if (object.pin("Unable to use what is freed")->runtime == runtime_) return object;
    if (is_closed()) runtime_->refuse("use a closed Spike instance");
    throw SpikeError("The tensor or model belongs to another Spike instance.");
  }

 private:
  const std::shared_ptr<Runtime> runtime_;
};

/// How many cores this process may use. Needs no runtime.
uint32_t visible_core_count(const NrtApi& api);
/// Version of libnrt as "1.2.3.4 (detail)"; "unknown" if it cannot say.
std::string runtime_version(const NrtApi& api);

}  // namespace spike
