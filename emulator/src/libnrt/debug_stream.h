// The debug stream: what programs print on the device, for one client per core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

class Session;

namespace debug_stream {

/// A tensor that a program prints.
struct DebugTensor {
  std::string prefix;                // cut to 511 bytes
  std::uint32_t pipe = 0;            // 0: standard output, 1: standard error
  std::string dtype;                 // cut to 15 bytes
  std::vector<std::uint64_t> shape;  // at most 8 dimensions
  const void* data = nullptr;
  std::size_t size = 0;
};

/// An event as a client gets it: type, and payload in memory of malloc().
struct Event {
  std::uint32_t type;
  void* payload;
  std::uint64_t size;
};

/// Puts a tensor into the core's stream. Dropped if nobody is connected; when the
/// stream is full (NEURON_RT_DEBUG_STREAM_BUFFER_SIZE events), the oldest is. Throws
/// StatusError(NRT_INVALID) for more than 8 dimensions.
void publish(int core, const DebugTensor& tensor);

/// Connects a client; a descriptor that polls readable while there are events. Throws
/// StatusError: NRT_INVALID if the core has a client.
int connect(Session& session, int core);

/// Ends a connection. Does nothing if there is none.
void disconnect(int descriptor) noexcept;

/// Takes the oldest event; false if there is none. Throws StatusError(NRT_INVALID) if
/// the descriptor is none of a connection.
bool read(int descriptor, Event* event);

}  // namespace debug_stream
}  // namespace emulator
