#include "world_links.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

namespace nkipy {
namespace {

enum class FrameKind : uint32_t { kAnnounce = 1, kPublish = 2, kFinish = 3, kFail = 4 };

constexpr int kLookEveryMs = 20;

}  // namespace

// In the order of bytes that both machines have; data follow.
struct LinkHead {
  FrameKind kind;
  uint32_t size;    // of the data: a text, or bytes of a slot
  uint64_t number;  // kPublish: where in the slot
  uint64_t group, count, signature, first;
};
static_assert(sizeof(LinkHead) == 48);

Link::~Link() {
  close();
  ::close(descriptor_);
}

bool Link::concerns(const std::vector<uint32_t>& group) const {
  return std::any_of(group.begin(), group.end(), [&](uint32_t rank) {
    return std::find(ranks_.begin(), ranks_.end(), rank) != ranks_.end();
  });
}

bool Link::announce(const Announced& a, const IsOver& is_over) {
  const auto size = static_cast<uint32_t>(std::min(a.text.size(), kWorldTextBytes - 1));
  return send(
      {FrameKind::kAnnounce, size, a.number, a.group, a.count, a.signature, a.first},
      a.text.data(), is_over);
}

bool Link::publish(const char* slot, size_t offset, size_t size,
                   const IsOver& is_over) {
  return send({FrameKind::kPublish, static_cast<uint32_t>(size), offset, 0, 0, 0, 0},
              slot + offset, is_over);
}

bool Link::finish(uint64_t number, const IsOver& is_over) {
  return send({FrameKind::kFinish, 0, number, 0, 0, 0, 0}, nullptr, is_over);
}

bool Link::fail(std::string_view reason, const IsOver& is_over) {
  const auto size = static_cast<uint32_t>(std::min(reason.size(), kWorldTextBytes - 1));
  return send({FrameKind::kFail, size, 0, 0, 0, 0, 0}, reason.data(), is_over);
}

void Link::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_open_) shutdown(descriptor_, SHUT_WR);
  is_open_ = false;
}

bool Link::send(const LinkHead& head, const char* data, const IsOver& is_over) {
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t done = 0;
  while (is_open_ && done < sizeof head + head.size) {
    iovec parts[2];
    size_t count = 0;
    if (done < sizeof head) {
      parts[count++] = {reinterpret_cast<char*>(const_cast<LinkHead*>(&head)) + done,
                        sizeof head - done};
    }
    const size_t of_data = done < sizeof head ? 0 : done - sizeof head;
    if (head.size > of_data) {
      parts[count++] = {const_cast<char*>(data) + of_data, head.size - of_data};
    }
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(descriptor_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      done += static_cast<size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd writable = {descriptor_, POLLOUT, 0};
      if (is_over()) break;
      poll(&writable, 1, kLookEveryMs);
    } else if (errno != EINTR) {
      break;
    }
  }
  if (done == sizeof head + head.size) return true;
  // What was begun can't be ended, so nothing may follow.
  if (is_open_) shutdown(descriptor_, SHUT_RDWR);
  is_open_ = false;
  return false;
}

namespace {

// False at the end.
bool read_all(int descriptor, void* target, size_t size) {
  auto* next = static_cast<char*>(target);
  while (size != 0) {
    const ssize_t got = recv(descriptor, next, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ECONNRESET) return false;
    if (got < 0) throw std::system_error(errno, std::generic_category(), "recv");
    if (got == 0) return false;
    next += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

void follow(int descriptor, uint32_t rank, WorldMemory& memory) {
  Board& board = memory.board(rank);
  uint64_t published = 0;
  LinkHead head;
  char text[kWorldTextBytes];
  while (read_all(descriptor, &head, sizeof head)) {
    const bool has_text =
        head.kind == FrameKind::kAnnounce || head.kind == FrameKind::kFail;
    if (has_text) {
      if (head.size >= sizeof text) throw std::invalid_argument("a text too long");
      if (!read_all(descriptor, text, head.size)) break;
    }
    Announcement& announced = board.announced[head.number % 2];
    switch (head.kind) {
      case FrameKind::kAnnounce:
        if (head.number == 0 || head.first < published) {
          throw std::invalid_argument("an operation out of order");
        }
        published = head.first;
        board.published.store(published, std::memory_order_release);
        announced.number.store(0);
        announced.group.store(head.group);
        announced.count.store(head.count);
        announced.signature.store(head.signature);
        announced.first.store(head.first);
        announced.is_over.store(0);
        announced.text.set({text, head.size});
        announced.number.store(head.number, std::memory_order_release);
        break;
      case FrameKind::kPublish:
        if (head.number > kSlotBytes || head.size > kSlotBytes - head.number) {
          throw std::invalid_argument("more than a slot has");
        }
        if (!read_all(descriptor, memory.slot(rank, published) + head.number,
                      head.size)) {
          memory.lose(rank);
          return;
        }
        board.published.store(++published, std::memory_order_release);
        break;
      case FrameKind::kFinish:
        if (announced.number.load() != head.number) {
          throw std::invalid_argument("the end of no operation");
        }
        announced.is_over.store(1, std::memory_order_release);
        break;
      case FrameKind::kFail:
        memory.fail({text, head.size});
        continue;
      default:
        throw std::invalid_argument("no frame of a link");
    }
    memory.ring(rank);
  }
  memory.lose(rank);
}

}  // namespace nkipy
