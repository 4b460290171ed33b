#include "debug_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "env.h"
#include "nrt/ndebug_stream.h"
#include "session.h"
#include "status.h"

namespace emulator::debug_stream {
namespace {

static_assert(sizeof(ndebug_stream_event_header_t) == 64, "part of the ABI");
static_assert(sizeof(ndebug_stream_payload_debug_tensor_read_t) == 1024,
              "part of the ABI");

constexpr std::uint64_t kDefaultEvents = 64 * 1024;
/// What is not read must not fill the memory.
constexpr std::uint64_t kMaxBytes = std::uint64_t{256} << 20;

struct Free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

struct Payload {
  std::unique_ptr<void, Free> memory;
  std::uint64_t size = 0;
};

Payload make_payload(int core, const DebugTensor& tensor) {
  using Record = ndebug_stream_payload_debug_tensor_read_t;
  Payload payload{
      std::unique_ptr<void, Free>(std::calloc(1, sizeof(Record) + tensor.size)),
      sizeof(Record) + tensor.size};
  if (!payload.memory) throw std::bad_alloc();
  auto* const record = static_cast<Record*>(payload.memory.get());
  strncpy(record->prefix, tensor.prefix.c_str(), sizeof record->prefix - 1);
  record->logical_nc_id = static_cast<std::uint32_t>(core);
  record->pipe = tensor.pipe;
  strncpy(record->tensor_dtype, tensor.dtype.c_str(), sizeof record->tensor_dtype - 1);
  std::copy(tensor.shape.begin(), tensor.shape.end(), record->tensor_shape);
  record->tensor_data_size = tensor.size;
  if (tensor.size != 0) memcpy(record + 1, tensor.data, tensor.size);
  return payload;
}

/// The connection of one client. The descriptor counts the events.
class Stream {
 public:
  Stream(int core, std::uint64_t capacity)
      : core_(core),
        capacity_(capacity),
        descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) {
    if (descriptor_ >= 0) return;
    throw StatusError(NRT_RESOURCE,
                      std::string("cannot make a descriptor: ") + strerror(errno));
  }
  ~Stream() { close(descriptor_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int core() const noexcept { return core_; }
  int descriptor() const noexcept { return descriptor_; }

  void push(Payload payload) {
    if (payload.size > kMaxBytes) return;
    bytes_ += payload.size;
    events_.push_back(std::move(payload));
    eventfd_write(descriptor_, 1);
    while (events_.size() > capacity_ || bytes_ > kMaxBytes) pop();
  }

  bool empty() const noexcept { return events_.empty(); }

  Payload pop() {
    Payload payload = std::move(events_.front());
    events_.pop_front();
    bytes_ -= payload.size;
    eventfd_t one;
    eventfd_read(descriptor_, &one);
    return payload;
  }

 private:
  const int core_;
  const std::uint64_t capacity_;
  const int descriptor_;
  std::deque<Payload> events_;
  std::uint64_t bytes_ = 0;
};

/// All connections of the process.
struct Streams {
  std::mutex mutex;
  std::map<int, std::unique_ptr<Stream>> by_core;
  bool hooked = false;  // to the session's end

  auto find(int descriptor) {
    return std::find_if(by_core.begin(), by_core.end(),
                        [descriptor](const auto& entry) {
                          return entry.second->descriptor() == descriptor;
                        });
  }
};

Streams& streams() {
  static auto* const instance = new Streams;
  return *instance;
}

void close_all() {
  Streams& all = streams();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.by_core.clear();
  all.hooked = false;
}

}  // namespace

void publish(int core, const DebugTensor& tensor) {
  constexpr std::size_t kMaxDimensions = 8;
  require(tensor.shape.size() <= kMaxDimensions,
          "a tensor for the debug stream has at most 8 dimensions");
  Streams& all = streams();
  std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.by_core.find(core);
  if (found != all.by_core.end()) found->second->push(make_payload(core, tensor));
}

int connect(Session& session, int core) {
  const int index = session.core(core).index;
  const auto capacity = env_number("NEURON_RT_DEBUG_STREAM_BUFFER_SIZE", 1, 1u << 30);
  Streams& all = streams();
  std::lock_guard<std::mutex> lock(all.mutex);
  require(all.by_core.count(index) == 0,
          "the core's debug stream has a client already");
  auto stream = std::make_unique<Stream>(index, capacity.value_or(kDefaultEvents));
  const int descriptor = stream->descriptor();
  all.by_core[index] = std::move(stream);
  if (!all.hooked) session.on_close(close_all);
  all.hooked = true;
  return descriptor;
}

void disconnect(int descriptor) noexcept {
  Streams& all = streams();
  std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.find(descriptor);
  if (found != all.by_core.end()) all.by_core.erase(found);
}

bool read(int descriptor, Event* event) {
  Streams& all = streams();
  std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.find(descriptor);
  require(found != all.by_core.end(), "the descriptor is none of a debug stream");
  Stream& stream = *found->second;
  if (stream.empty()) return false;
  Payload payload = stream.pop();
  *event = {NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ, payload.memory.release(),
            payload.size};
  return true;
}

}  // namespace emulator::debug_stream
