// Messages between libnrt and the engine's process, over a Unix stream socket.
//
// A request is a fixed header, then as many bytes as it says; a file descriptor may
// come with it. Its reply is a fixed header and as many bytes of text. Both ends are of
// one build on one machine: numbers are in the machine's order. The other end is
// nkipy_emulator/device/server.py.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "descriptor.h"

namespace emulator {

enum class RequestKind : std::uint32_t {
  load = 1,     // program: size of the NEFF; payload: options; descriptor: the NEFF
  execute = 2,  // payload: where inputs and outputs are in the shared file
  unload = 3,
  channel = 4,  // descriptor: another socket to serve. The only one without a reply
  estimate = 5,
  all_gather = 6,  // program: size of the meeting's JSON; payload: that, and the data
};

struct RequestHeader {
  RequestKind kind;
  std::uint32_t payload_size;
  std::uint64_t program;
};

struct Reply {
  std::int32_t status = 0;
  std::uint64_t program = 0;
  std::string text;
};

/// The status of what comes before the reply to an execution: a tensor that is printed.
/// `program` is the rank. The text has 8 bytes for the number of dimensions and each of
/// these, the prefix and the dtype, both ending in 0, and the tensor's data.
constexpr std::int32_t kPrinted = -1;

/// One end of a socket. One thread uses it at a time.
class Channel {
 public:
  enum class Outcome { done, closed, timed_out, stopped };

  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}

  /// Sends a request, with `descriptor` unless that is -1. False if nobody listens.
  bool send(RequestKind kind, std::uint64_t program, const void* payload,
            std::uint32_t size, int descriptor = -1);
  /// Waits for the reply to the last request, while `goes_on`, asked now and then, says
  /// so. What is printed before it is handed to `printed`.
  Outcome receive(Reply* reply, std::chrono::milliseconds timeout,
                  const std::function<bool()>& goes_on,
                  const std::function<void(const Reply&)>& printed);

 private:
  Outcome receive_one(Reply* reply, std::chrono::steady_clock::time_point deadline,
                      const std::function<bool()>& goes_on);
  Outcome receive_bytes(void* bytes, std::size_t size,
                        std::chrono::steady_clock::time_point deadline,
                        const std::function<bool()>& goes_on);

  Descriptor socket_;
};

/// Two connected sockets, closed on exec. Throws StatusError(NRT_RESOURCE).
void make_channel(Descriptor* ours, Descriptor* theirs);

}  // namespace emulator
