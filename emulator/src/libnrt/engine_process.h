// The process that an engine of its own runs in.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>

#include "engine_channel.h"

namespace emulator {

/// The Python module nkipy_emulator.device.server, from start to end of the object.
/// Nothing is imported from the current directory. Safe to use from many threads.
class EngineProcess {
 public:
  /// Starts it. `memory` is the file that it maps. Throws StatusError(NRT_FAILURE).
  EngineProcess(const std::string& python, int memory, std::size_t extent);
  /// Tells it to end, and sees to it that it does.
  ~EngineProcess();
  EngineProcess(const EngineProcess&) = delete;
  EngineProcess& operator=(const EngineProcess&) = delete;

  /// Another socket that it serves. Throws StatusError.
  Channel open_channel();
  /// Kills it, if it still runs. All channels are closed then.
  void kill() noexcept;
  /// How it ended, for messages: "was killed by signal 9".
  std::string describe_end();
  /// Kills it if it occupies more than `limit` bytes. False then, and ever after.
  bool stays_within(std::size_t limit) noexcept;
  /// Whether it was killed for its memory.
  bool outgrew() noexcept;

 private:
  bool wait_for(int milliseconds) noexcept;

  pid_t pid_ = -1;
  std::mutex mutex_;  // guards what follows, and that the pid is still ours
  Channel control_;
  bool ended_ = false;
  int end_status_ = 0;
  std::size_t grown_to_ = 0;  // bytes, when it was killed for that; else 0
  std::size_t limit_ = 0;
};

/// The interpreter to run: `wanted` if not empty, else that of this process if it has
/// the engine, else the one that the emulator's package is installed with, else that of
/// a virtual environment, .venv, in a directory above this library, else python3 on
/// PATH.
std::string find_python(const std::string& wanted);

}  // namespace emulator
