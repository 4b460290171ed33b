// The engine in a process of its own. Tensors lie in a file that both processes map, so
// that only their places travel.

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine.h"
#include "engine_channel.h"
#include "engine_process.h"
#include "status.h"

namespace emulator {
namespace {

using std::chrono::milliseconds;

// Imports of the child included; large programs compile for minutes.
constexpr std::chrono::minutes kLoadTimeout{30};
// Who ends a session does not want to wait for a child that hangs.
constexpr std::chrono::seconds kUnloadTimeout{30};

class ChildEngine : public Engine, public std::enable_shared_from_this<ChildEngine> {
 public:
  ChildEngine(const Environment& environment, Memory& memory)
      : memory_(memory),
        timeout_(environment.execution_timeout),
        process_(find_python(environment.python), memory.backing().descriptor(),
                 memory.backing().extent()) {}

  std::shared_ptr<Program> load(const void* neff, std::size_t size,
                                const LoadSettings& settings) override;
  void execute(std::uint64_t program, const std::vector<std::uint64_t>& offsets);
  std::string estimate(std::uint64_t program);
  void unload(std::uint64_t program) noexcept;
  Memory& memory() noexcept { return memory_; }

 private:
  Reply call(RequestKind kind, std::uint64_t program, const void* payload,
             std::size_t size, int descriptor, milliseconds timeout);
  Channel take_channel();
  void give_back(Channel channel);
  [[noreturn]] void fail(RequestKind kind, Channel::Outcome outcome,
                         milliseconds timeout);

  Memory& memory_;
  const milliseconds timeout_;
  EngineProcess process_;
  std::atomic<bool> dead_{false};
  std::mutex mutex_;
  std::vector<Channel> idle_;  // guarded by mutex_
};

// Memory that only this process can see, and its stand-in in the shared file.
struct Staged {
  Place original;
  std::shared_ptr<Storage> copy;
};

class ChildProgram final : public Program {
 public:
  ChildProgram(std::shared_ptr<ChildEngine> engine, std::uint64_t number,
               ProgramDescription description)
      : Program(std::move(description)), engine_(std::move(engine)), number_(number) {}
  ~ChildProgram() override { engine_->unload(number_); }

  void execute(const std::vector<Place>& inputs,
               const std::vector<Place>& outputs) override {
    std::vector<std::uint64_t> offsets;
    std::vector<Staged> staged_inputs, staged_outputs;
    collect(inputs, &offsets, &staged_inputs);
    for (const Staged& input : staged_inputs) {
      std::memcpy(input.copy->data(), input.original.address, input.original.size);
    }
    collect(outputs, &offsets, &staged_outputs);
    engine_->execute(number_, offsets);
    for (const Staged& output : staged_outputs) {
      std::memcpy(output.original.address, output.copy->data(), output.original.size);
    }
  }

 private:
  std::string estimate() override { return engine_->estimate(number_); }

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

  const std::shared_ptr<ChildEngine> engine_;
  const std::uint64_t number_;
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
  const Descriptor file = make_file(neff, size);
  const std::string options = settings.to_json();
  const Reply reply = call(RequestKind::load, size, options.data(), options.size(),
                           file.get(), kLoadTimeout);
  try {
    return std::make_shared<ChildProgram>(shared_from_this(), reply.program,
                                          ProgramDescription::parse(reply.text));
  } catch (...) {
    unload(reply.program);
    throw;
  }
}

void ChildEngine::execute(std::uint64_t program,
                          const std::vector<std::uint64_t>& offsets) {
  call(RequestKind::execute, program, offsets.data(),
       offsets.size() * sizeof offsets[0], -1, timeout_);
}

std::string ChildEngine::estimate(std::uint64_t program) {
  return call(RequestKind::estimate, program, nullptr, 0, -1, kLoadTimeout).text;
}

void ChildEngine::unload(std::uint64_t program) noexcept {
  try {
    call(RequestKind::unload, program, nullptr, 0, -1, kUnloadTimeout);
  } catch (const std::exception&) {
    // The process is gone, and the program with it.
  }
}

Reply ChildEngine::call(RequestKind kind, std::uint64_t program, const void* payload,
                        std::size_t size, int descriptor, milliseconds timeout) {
  if (dead_.load()) fail(kind, Channel::Outcome::closed, timeout);
  Channel channel = take_channel();
  Reply reply;
  Channel::Outcome outcome = Channel::Outcome::closed;
  if (channel.send(kind, program, payload, static_cast<std::uint32_t>(size),
                   descriptor)) {
    outcome = channel.receive(&reply, timeout);
  }
  if (outcome != Channel::Outcome::done) fail(kind, outcome, timeout);
  give_back(std::move(channel));
  if (reply.status != 0) {
    throw StatusError(static_cast<NRT_STATUS>(reply.status), reply.text);
  }
  return reply;
}

void ChildEngine::fail(RequestKind kind, Channel::Outcome outcome,
                       milliseconds timeout) {
  dead_.store(true);
  if (outcome == Channel::Outcome::timed_out) {
    process_.kill();  // what it is at could never be stopped otherwise
    throw StatusError(NRT_TIMEOUT,
                      "the engine's process did not answer within " +
                          std::to_string(timeout.count()) +
                          " ms and was ended; initialise the runtime again");
  }
  const NRT_STATUS status =
      kind == RequestKind::load ? NRT_FAILURE : NRT_EXEC_UNIT_UNRECOVERABLE;
  throw StatusError(status, "the engine's process " + process_.describe_end() +
                                "; initialise the runtime again");
}

Channel ChildEngine::take_channel() {
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

void ChildEngine::give_back(Channel channel) {
  std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(channel));
}

}  // namespace

std::shared_ptr<Engine> make_child_engine(const Environment& environment,
                                          Memory& memory) {
  return std::make_shared<ChildEngine>(environment, memory);
}

}  // namespace emulator
