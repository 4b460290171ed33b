// Loading: from the arguments of nrt_load to a model.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nrt/nrt.h"

namespace emulator {

class Session;

/// The arguments of nrt_load and nrt_load_collectives.
struct LoadRequest {
  const void* neff;
  std::size_t size;
  std::int32_t core;        // -1: the one with the fewest models
  std::int32_t core_count;  // documented as -1; any number from 1 on is taken
  std::uint32_t rank;
  std::uint32_t ranks;
  bool collectives;
};

/// Throws StatusError with the documented statuses.
nrt_model_t* load_model(Session& session, const LoadRequest& request);

}  // namespace emulator
