#include "engine_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "status.h"

namespace emulator {
namespace {

using Clock = std::chrono::steady_clock;

// Milliseconds. What a process can fill meanwhile is little beside a machine's memory.
constexpr std::int64_t kAskEvery = 20;

struct ReplyHeader {
  std::int32_t status;
  std::uint32_t text_size;
  std::uint64_t program;
};

bool send_all(int socket, const char* bytes, std::size_t size) {
  while (size != 0) {
    const ssize_t sent = ::send(socket, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

// Sends with a descriptor, which arrives with the first byte.
bool send_with_descriptor(int socket, const void* bytes, std::size_t size,
                          int descriptor) {
  iovec piece{const_cast<void*>(bytes), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent <= 0) return false;
  const auto done = static_cast<std::size_t>(sent);
  return send_all(socket, static_cast<const char*>(bytes) + done, size - done);
}

}  // namespace

bool Channel::send(RequestKind kind, std::uint64_t program, const void* payload,
                   std::uint32_t size, int descriptor) {
  const RequestHeader header{kind, size, program};
  const bool sent =
      descriptor >= 0
          ? send_with_descriptor(socket_.get(), &header, sizeof header, descriptor)
          : send_all(socket_.get(), reinterpret_cast<const char*>(&header),
                     sizeof header);
  return sent && send_all(socket_.get(), static_cast<const char*>(payload), size);
}

Channel::Outcome Channel::receive(Reply* reply, std::chrono::milliseconds timeout,
                                  const std::function<bool()>& goes_on,
                                  const std::function<void(const Reply&)>& printed) {
  const Clock::time_point deadline = Clock::now() + timeout;
  for (;;) {
    const Outcome outcome = receive_one(reply, deadline, goes_on);
    if (outcome != Outcome::done || reply->status != kPrinted) return outcome;
    printed(*reply);
  }
}

Channel::Outcome Channel::receive_one(Reply* reply, Clock::time_point deadline,
                                      const std::function<bool()>& goes_on) {
  ReplyHeader header{};
  Outcome outcome = receive_bytes(&header, sizeof header, deadline, goes_on);
  if (outcome != Outcome::done) return outcome;
  reply->status = header.status;
  reply->program = header.program;
  reply->text.resize(header.text_size);
  return receive_bytes(reply->text.data(), reply->text.size(), deadline, goes_on);
}

Channel::Outcome Channel::receive_bytes(void* bytes, std::size_t size,
                                        Clock::time_point deadline,
                                        const std::function<bool()>& goes_on) {
  auto* next = static_cast<char*>(bytes);
  while (size != 0) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const auto wait = std::clamp<std::int64_t>(left.count(), 0, kAskEvery);
    pollfd wanted{socket_.get(), POLLIN, 0};
    const int ready = poll(&wanted, 1, static_cast<int>(wait));
    if (ready < 0 && errno != EINTR) return Outcome::closed;
    if (ready <= 0) {
      if (!goes_on()) return Outcome::stopped;
      if (Clock::now() >= deadline) return Outcome::timed_out;
      continue;
    }
    const ssize_t got = recv(socket_.get(), next, size, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return Outcome::closed;
    next += got;
    size -= static_cast<std::size_t>(got);
  }
  return Outcome::done;
}

void make_channel(Descriptor* ours, Descriptor* theirs) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw StatusError(NRT_RESOURCE,
                      std::string("no socket for the engine: ") + strerror(errno));
  }
  *ours = Descriptor(ends[0]);
  *theirs = Descriptor(ends[1]);
}

}  // namespace emulator
