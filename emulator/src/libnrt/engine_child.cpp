// The engine in a process of its own. Tensors lie in a file that both processes map, so
// that only their places travel.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine.h"
#include "engine_channel.h"
#include "engine_interpreter.h"
#include "engine_process.h"
#include "resident_memory.h"
#include "status.h"

namespace emulator {
namespace {

using std::chrono::milliseconds;

// Imports of the child included; large programs compile for minutes.
constexpr std::chrono::minutes kLoadTimeout{30};
// Who meets others is answered by the child when their time is over; if it still lives.
constexpr std::chrono::seconds kLateAnswer{10};
// Who ends a session does not want to wait for a child that hangs.
constexpr std::chrono::seconds kUnloadTimeout{30};

/// Three quarters of the machine's memory: the rest is for tensors and everybody else.
std::size_t memory_limit(const Environment& environment) {
  return environment.child_memory.value_or(machine_memory() / 4 * 3);
}

// One process, and the sockets to it.
class Child {
 public:
  Child(const Environment& environment, Memory& memory)
      : timeout_(environment.execution_timeout),
        memory_limit_(memory_limit(environment)),
        process_(find_python(environment.python), memory.backing().descriptor(),
                 memory.backing().extent()) {}

  Reply load(const Descriptor& neff, std::size_t size, const std::string& options) {
    return call(RequestKind::load, size, options.data(), options.size(), neff.get(),
                kLoadTimeout);
  }
  void execute(std::uint64_t program, const std::vector<std::uint64_t>& offsets,
               const Printer& printer) {
    call(RequestKind::execute, program, offsets.data(),
         offsets.size() * sizeof offsets[0], -1, timeout_, &printer);
  }
  std::string all_gather(const std::string& meeting, const void* data, std::size_t size,
                         milliseconds timeout) {
    const std::string payload =
        meeting + std::string(static_cast<const char*>(data), size);
    return call(RequestKind::all_gather, meeting.size(), payload.data(), payload.size(),
                -1, timeout + kLateAnswer)
        .text;
  }
  std::string estimate(std::uint64_t program) {
    return call(RequestKind::estimate, program, nullptr, 0, -1, kLoadTimeout).text;
  }
  void unload(std::uint64_t program) noexcept;
  /// Whether it was ended for its memory, or by who did not want to wait for it.
  /// Another one can take its place.
  bool is_replaceable() noexcept { return is_given_up_ || process_.outgrew(); }

 private:
  Reply call(RequestKind kind, std::uint64_t program, const void* payload,
             std::size_t size, int descriptor, milliseconds timeout,
             const Printer* printer = nullptr);
  bool goes_on(RequestKind kind);
  Channel take_channel();
  void give_back(Channel channel);
  [[noreturn]] void fail(RequestKind kind, Channel::Outcome outcome,
                         milliseconds timeout);

  const milliseconds timeout_;
  const std::size_t memory_limit_;
  EngineProcess process_;
  std::atomic<bool> dead_{false};
  std::atomic<bool> is_given_up_{false};
  std::mutex mutex_;
  std::vector<Channel> idle_;  // guarded by mutex_
};

class ChildEngine : public Engine, public std::enable_shared_from_this<ChildEngine> {
 public:
  ChildEngine(const Environment& environment, Memory& memory)
      : environment_(environment),
        memory_(memory),
        child_(std::make_shared<Child>(environment, memory)) {}

  std::shared_ptr<Program> load(const void* neff, std::size_t size,
                                const LoadSettings& settings) override;
  void all_gather(const Meeting& meeting, const void* data, std::size_t size,
                  void* result) override {
    const std::string all =
        child()->all_gather(meeting.to_json(), data, size, meeting.timeout);
    if (all.size() != size * meeting.ranks) {
      throw StatusError(NRT_FAILURE, "the engine's process answers with " +
                                         std::to_string(all.size()) + " bytes");
    }
    std::memcpy(result, all.data(), all.size());
  }
  Memory& memory() noexcept { return memory_; }
  /// The process for programs; another one if the last is replaceable.
  std::shared_ptr<Child> child() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (child_->is_replaceable())
      child_ = std::make_shared<Child>(environment_, memory_);
    return child_;
  }

 private:
  const Environment environment_;
  Memory& memory_;
  std::mutex mutex_;
  std::shared_ptr<Child> child_;  // guarded by mutex_
};

// A NEFF in a file without a name, and how to load it. Kept with the program, which may
// have to be loaded into another process.
struct Loadable {
  Descriptor neff;
  std::size_t size;
  std::string options;
};

// A program in a process.
struct Seat {
  std::shared_ptr<Child> child;
  std::uint64_t number;
};

// Memory that only this process can see, and its stand-in in the shared file.
struct Staged {
  Place original;
  std::shared_ptr<Storage> copy;
};

class ChildProgram final : public Program {
 public:
  ChildProgram(std::shared_ptr<ChildEngine> engine, Loadable loadable, Seat seat,
               ProgramDescription description)
      : Program(std::move(description)),
        engine_(std::move(engine)),
        loadable_(std::move(loadable)),
        seat_(std::move(seat)) {}
  ~ChildProgram() override { seat_.child->unload(seat_.number); }

  void execute(const std::vector<Place>& inputs, const std::vector<Place>& outputs,
               const std::shared_ptr<const void>&, const Printer& printer) override {
    std::vector<std::uint64_t> offsets;
    std::vector<Staged> staged_inputs, staged_outputs;
    collect(inputs, &offsets, &staged_inputs);
    for (const Staged& input : staged_inputs) {
      std::memcpy(input.copy->data(), input.original.address, input.original.size);
    }
    collect(outputs, &offsets, &staged_outputs);
    const Seat seat = take_seat();
    seat.child->execute(seat.number, offsets, printer);
    for (const Staged& output : staged_outputs) {
      std::memcpy(output.original.address, output.copy->data(), output.original.size);
    }
  }

 private:
  std::string estimate() override {
    const Seat seat = take_seat();
    return seat.child->estimate(seat.number);
  }

  void collect(const std::vector<Place>& places, std::vector<std::uint64_t>* offsets,
               std::vector<Staged>* staged) {
    for (const Place& place : places) {
      if (place.shared_offset != Backing::kNotShared || place.size == 0) {
        offsets->push_back(place.size == 0 ? 0 : place.shared_offset);
        continue;
      }
      staged->push_back({place, engine_->memory().allocate_host(place.size)});
      offsets->push_back(staged->back().copy->shared_offset());
    }
  }

  Seat take_seat() {
    Seat seat = known_seat();
    if (!seat.child->is_replaceable()) return seat;
    const auto child = engine_->child();
    // Not under the lock: handlers of signals may run meanwhile.
    const Reply reply = child->load(loadable_.neff, loadable_.size, loadable_.options);
    seat = {child, reply.program};
    std::unique_lock<std::mutex> lock(mutex_);
    if (seat_.child->is_replaceable()) return seat_ = seat;
    const Seat others = seat_;  // who was quicker
    lock.unlock();
    child->unload(seat.number);
    return others;
  }
  Seat known_seat() {
    std::lock_guard<std::mutex> lock(mutex_);
    return seat_;
  }

  const std::shared_ptr<ChildEngine> engine_;
  const Loadable loadable_;
  std::mutex mutex_;
  Seat seat_;  // guarded by mutex_
};

// The NEFF, in a file without a name.
Descriptor make_file(const void* bytes, std::size_t size) {
  Descriptor file(memfd_create("neff", MFD_CLOEXEC));
  const auto* next = static_cast<const char*>(bytes);
  while (file && size != 0) {
    const ssize_t written = write(file.get(), next, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) file = Descriptor();
    next += written;
    size -= static_cast<std::size_t>(written);
  }
  if (!file) throw StatusError(NRT_RESOURCE, "no memory to pass the NEFF on");
  return file;
}

std::shared_ptr<Program> ChildEngine::load(const void* neff, std::size_t size,
                                           const LoadSettings& settings) {
  Loadable loadable{make_file(neff, size), size, settings.to_json()};
  const auto process = child();
  const Reply reply = process->load(loadable.neff, size, loadable.options);
  try {
    return std::make_shared<ChildProgram>(shared_from_this(), std::move(loadable),
                                          Seat{process, reply.program},
                                          ProgramDescription::parse(reply.text));
  } catch (...) {
    process->unload(reply.program);
    throw;
  }
}

void Child::unload(std::uint64_t program) noexcept {
  try {
    call(RequestKind::unload, program, nullptr, 0, -1, kUnloadTimeout);
  } catch (const std::exception&) {
    // The process is gone, and the program with it.
  }
}

// A message of the server's, see kPrinted: it is taken for what it says within bounds.
void print(const Reply& message, const Printer& printer) {
  const std::string& text = message.text;
  constexpr std::size_t kWord = sizeof(std::uint64_t), kMostDimensions = 8;
  std::uint64_t words[1 + kMostDimensions] = {};
  std::memcpy(words, text.data(), std::min(text.size(), sizeof words));
  const std::size_t dimensions = words[0];
  if (dimensions > kMostDimensions) return;
  const std::size_t begin = (1 + dimensions) * kWord;
  const std::size_t prefix_end = text.find('\0', begin);
  if (prefix_end == std::string::npos) return;
  const std::size_t dtype_end = text.find('\0', prefix_end + 1);
  if (dtype_end == std::string::npos) return;
  printer(static_cast<std::uint32_t>(message.program),
          {text.substr(begin, prefix_end - begin),
           0,
           text.substr(prefix_end + 1, dtype_end - prefix_end - 1),
           {words + 1, words + 1 + dimensions},
           text.data() + dtype_end + 1,
           text.size() - dtype_end - 1});
}

Reply Child::call(RequestKind kind, std::uint64_t program, const void* payload,
                  std::size_t size, int descriptor, milliseconds timeout,
                  const Printer* printer) {
  if (dead_.load()) fail(kind, Channel::Outcome::closed, timeout);
  Channel channel = take_channel();
  Reply reply;
  Channel::Outcome outcome = Channel::Outcome::closed;
  if (channel.send(kind, program, payload, static_cast<std::uint32_t>(size),
                   descriptor)) {
    const auto printed = [printer](const Reply& message) {
      if (printer != nullptr) print(message, *printer);
    };
    outcome = channel.receive(&reply, timeout, [&] { return goes_on(kind); }, printed);
  }
  if (outcome != Channel::Outcome::done) fail(kind, outcome, timeout);
  give_back(std::move(channel));
  if (reply.status != 0) {
    throw StatusError(static_cast<NRT_STATUS>(reply.status), reply.text);
  }
  return reply;
}

// Asked now and then by who waits. Throws Interrupted: the process is ended then, as
// what it is at cannot be stopped otherwise.
bool Child::goes_on(RequestKind kind) {
  // Nobody hands on what is raised during the others.
  const bool can_raise = kind == RequestKind::load || kind == RequestKind::execute ||
                         kind == RequestKind::all_gather;
  try {
    if (can_raise) check_signals();
  } catch (const Interrupted&) {
    is_given_up_ = true;
    dead_ = true;
    process_.kill();
    throw;
  }
  return process_.stays_within(memory_limit_);
}

void Child::fail(RequestKind kind, Channel::Outcome outcome, milliseconds timeout) {
  dead_.store(true);
  if (outcome == Channel::Outcome::timed_out) {
    process_.kill();  // what it is at could never be stopped otherwise
    throw StatusError(NRT_TIMEOUT,
                      "the engine's process did not answer within " +
                          std::to_string(timeout.count()) +
                          " ms and was ended; initialise the runtime again");
  }
  if (is_given_up_) {
    throw StatusError(NRT_FAILURE,
                      "the engine's process was ended, since another thread did not "
                      "want to wait for it; call again");
  }
  if (process_.outgrew()) {
    throw StatusError(NRT_RESOURCE, "the engine's process " + process_.describe_end());
  }
  const NRT_STATUS status =
      kind == RequestKind::load ? NRT_FAILURE : NRT_EXEC_UNIT_UNRECOVERABLE;
  throw StatusError(status, "the engine's process " + process_.describe_end() +
                                "; initialise the runtime again");
}

Channel Child::take_channel() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      Channel channel = std::move(idle_.back());
      idle_.pop_back();
      return channel;
    }
  }
  return process_.open_channel();
}

void Child::give_back(Channel channel) {
  std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(channel));
}

}  // namespace

std::shared_ptr<Engine> make_child_engine(const Environment& environment,
                                          Memory& memory) {
  return std::make_shared<ChildEngine>(environment, memory);
}

}  // namespace emulator
