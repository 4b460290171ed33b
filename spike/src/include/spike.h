// The interface to the runtime that Python sees as `Spike`.
#pragma once

#include "nrt_wrapper.h"

namespace spike {

/// An open runtime, for tensors and models to be made in. Destroying a Spike lets the
/// runtime go on for as long as there are tensors or models; closing it does not.
struct Spike {
  const Runtime::Lease runtime;

  /// `object`, a tensor or model, if it is of this instance. Throws SpikeError if not.
  template <class Object>
  Object& own(Object& object) const {
    if (object.pin("Unable to use what is freed")->runtime == runtime) return object;
    runtime->require_open("Unable to use a closed Spike instance");
    throw SpikeError("'" + object.label + "' belongs to another Spike instance.");
  }

  /// Bytes used and bytes that there are in the device memory of a core.
  std::pair<size_t, size_t> memory_stats(uint32_t core_id) const;
};

/// How many cores this process may use. Needs no runtime.
uint32_t visible_core_count(const NrtApi& api);
/// Version of libnrt as "1.2.3.4 (detail)"; "unknown" if it cannot say.
std::string runtime_version(const NrtApi& api);

}  // namespace spike
