// The callback that learns of every asynchronous execution's end.
#pragma once

#include <cstdint>

#include "nrt/nrt_async.h"

namespace emulator {

/// Replaces the callback of the process; null takes it away.
void set_execution_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params);

/// Calls it, if there is one.
void call_execution_callback(std::uint32_t model_id, int core, nrta_seq_t sequence,
                             NRT_STATUS status);

}  // namespace emulator
