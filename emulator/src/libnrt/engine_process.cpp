#include "engine_process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "engine.h"
#include "engine_interpreter.h"
#include "resident_memory.h"
#include "status.h"

extern char** environ;

namespace emulator {
namespace {

// Python puts the current directory first, as an empty path: what lies there, by
// whomever, is not to be taken for a module. (-P is younger than Python 3.10, -I would
// leave out the user's packages, too.)
constexpr char kProgram[] =
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from nkipy_emulator.device.server import main; main(sys.argv[1:])";
constexpr char kPathVariable[] = "PYTHONPATH=";
// Where the child finds them.
constexpr int kControlDescriptor = 3, kMemoryDescriptor = 4;
constexpr int kExitPatience = 2000;  // milliseconds

// Attributes and file actions of posix_spawn.
struct Spawn {
  Spawn() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// A copy above the numbers that the child's descriptors get: dup2 to a number that is
// a source of another would overwrite it.
Descriptor raise_descriptor(int fd) {
  Descriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 16));
  if (!copy) throw StatusError(NRT_RESOURCE, "no descriptor for the engine's process");
  return copy;
}

// In a process group of its own: Ctrl-C is the parent's to handle.
void prepare(Spawn* spawn, int control, int memory) {
  posix_spawn_file_actions_adddup2(&spawn->actions, control, kControlDescriptor);
  posix_spawn_file_actions_adddup2(&spawn->actions, memory, kMemoryDescriptor);
  posix_spawnattr_setflags(&spawn->attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&spawn->attributes, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&spawn->attributes, &none);
}

// A list of directories without those that depend on the current one.
std::string absolute_only(const std::string& list) {
  std::string result;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t end = std::min(list.find(':', start), list.size());
    if (list[start] == '/') {
      if (!result.empty()) result += ':';
      result.append(list, start, end - start);
    }
    start = end + 1;
  }
  return result;
}

std::vector<std::string> child_environment() {
  std::vector<std::string> result;
  const std::string_view variable = kPathVariable;
  for (char** entry = environ; *entry; ++entry) {
    std::string text = *entry;
    if (text.compare(0, variable.size(), variable) == 0) {
      text = kPathVariable + absolute_only(text.substr(variable.size()));
    }
    result.push_back(std::move(text));
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>* texts) {
  std::vector<char*> result;
  for (std::string& text : *texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

pid_t start(const std::string& python, int control, int memory, std::size_t extent) {
  const Descriptor control_copy = raise_descriptor(control);
  const Descriptor memory_copy = raise_descriptor(memory);
  Spawn spawn;
  prepare(&spawn, control_copy.get(), memory_copy.get());
  std::vector<std::string> words = {python,
                                    "-c",
                                    kProgram,
                                    std::to_string(kControlDescriptor),
                                    std::to_string(kMemoryDescriptor),
                                    std::to_string(extent),
                                    std::to_string(getpid())};
  std::vector<std::string> variables = child_environment();
  const std::vector<char*> arguments = pointers(&words);
  const std::vector<char*> environment = pointers(&variables);
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, python.c_str(), &spawn.actions, &spawn.attributes,
                   arguments.data(), environment.data());
  if (error == 0) return pid;
  throw StatusError(NRT_FAILURE, "cannot start the engine's process, " + python + ": " +
                                     strerror(error) +
                                     "; NKIPY_EMULATOR_PYTHON says "
                                     "which interpreter to use");
}

// The file of this library; "" if that is not known.
std::string own_path() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&own_path), &info) == 0) return "";
  char* const resolved = realpath(info.dli_fname, nullptr);
  const std::string path = resolved ? resolved : "";
  free(resolved);
  return path;
}

// The interpreter of an environment; "" if there is none.
std::string python_of(const std::string& prefix) {
  const std::string python = prefix + "/bin/python3";
  return access(python.c_str(), X_OK) == 0 ? python : "";
}

// <prefix>/bin/python3 for a library in <prefix>/lib/pythonX.Y/site-packages/.../lib.
std::string installed_python(const std::string& path) {
  const std::size_t packages = path.rfind("/site-packages/");
  if (packages == std::string::npos) return "";
  const std::size_t library = path.rfind("/lib", packages - 1);
  return library == std::string::npos ? "" : python_of(path.substr(0, library));
}

// That of the nearest .venv above a library that is used from its sources.
std::string workspace_python(std::string path) {
  while (!path.empty()) {
    path.resize(path.rfind('/'));
    const std::string python = python_of(path + "/.venv");
    if (!python.empty()) return python;
  }
  return "";
}

std::string megabytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MB"; }

Channel start_process(const std::string& python, int memory, std::size_t extent,
                      pid_t* pid) {
  Descriptor ours, theirs;
  make_channel(&ours, &theirs);
  *pid = start(python, theirs.get(), memory, extent);
  return Channel(std::move(ours));
}

}  // namespace

EngineProcess::EngineProcess(const std::string& python, int memory, std::size_t extent)
    : control_(start_process(python, memory, extent, &pid_)) {}

EngineProcess::~EngineProcess() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    control_ = Channel(Descriptor());  // which tells it to end
  }
  if (!wait_for(kExitPatience)) kill();
}

Channel EngineProcess::open_channel() {
  Descriptor ours, theirs;
  make_channel(&ours, &theirs);
  std::lock_guard<std::mutex> lock(mutex_);
  // If nobody listens, the first request will tell.
  control_.send(RequestKind::channel, 0, nullptr, 0, theirs.get());
  return Channel(std::move(ours));
}

void EngineProcess::kill() noexcept {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!ended_) ::kill(pid_, SIGKILL);
  }
  wait_for(kExitPatience);
}

// Polls, since there is no waiting with a limit for a process that is not to be noticed
// by others who wait for children. False if it still runs.
bool EngineProcess::wait_for(int milliseconds) noexcept {
  constexpr int kStep = 5;
  for (int waited = 0;; waited += kStep) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (ended_) return true;
      const pid_t result = waitpid(pid_, &end_status_, WNOHANG);
      // An error means that somebody else has waited for it.
      ended_ = result == pid_ || (result < 0 && errno == ECHILD);
      if (ended_) return true;
    }
    if (waited >= milliseconds) return false;
    usleep(kStep * 1000);
  }
}

bool EngineProcess::stays_within(std::size_t limit) noexcept {
  try {
    std::lock_guard<std::mutex> lock(mutex_);
    if (grown_to_ != 0) return false;
    if (ended_ || limit == 0) return true;
    const std::size_t bytes = resident_bytes(pid_);
    if (bytes <= limit) return true;
    grown_to_ = bytes;
    limit_ = limit;
    ::kill(pid_, SIGKILL);
    return false;
  } catch (const std::exception&) {  // no memory to look at that of others
    return true;
  }
}

bool EngineProcess::outgrew() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  return grown_to_ != 0;
}

std::string EngineProcess::describe_end() {
  if (!wait_for(kExitPatience)) return "does not answer";
  std::lock_guard<std::mutex> lock(mutex_);
  if (grown_to_ != 0) {
    return "took " + megabytes(grown_to_) + " of memory and was ended; " +
           megabytes(limit_) + " is most (NKIPY_EMULATOR_CHILD_MEMORY_BYTES)";
  }
  if (WIFSIGNALED(end_status_)) {
    return "was killed by signal " + std::to_string(WTERMSIG(end_status_));
  }
  return "exited with code " + std::to_string(WEXITSTATUS(end_status_));
}

std::string find_python(const std::string& wanted) {
  if (!wanted.empty()) return wanted;
  const std::string own = interpreter_path();
  if (!own.empty() && interpreter_has(kEnginePackage)) return own;
  const std::string path = own_path();
  for (const std::string& found : {installed_python(path), workspace_python(path)}) {
    if (!found.empty()) return found;
  }
  return "python3";
}

}  // namespace emulator
