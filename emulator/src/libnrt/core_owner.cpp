#include "core_owner.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace emulator {
namespace {

constexpr std::size_t kMostOfCommand = 120;

/// Numbers of processes mean something within one of these: "pid:[4026531836]".
std::string process_namespace() {
  std::array<char, 64> name{};
  const ssize_t size = readlink("/proc/self/ns/pid", name.data(), name.size());
  return size > 0 ? std::string(name.data(), static_cast<std::size_t>(size)) : "";
}

/// The start of a file; "" if it cannot be read.
std::string read_start(const std::string& path, std::size_t most) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  std::string text(most, '\0');
  const ssize_t size = read(file, text.data(), text.size());
  close(file);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

std::string user_of(uid_t user) {
  std::array<char, 1024> room{};
  struct passwd entry{}, *found = nullptr;
  getpwuid_r(user, &entry, room.data(), room.size(), &found);
  return found ? found->pw_name : std::to_string(user);
}

/// Its words with a space after each, and nothing that a terminal would obey.
std::string command_of(const std::string& process) {
  std::string text = read_start(process + "/cmdline", kMostOfCommand);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  for (char& c : text) {
    if (c == '\0') c = ' ';
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

}  // namespace

void write_owner(int descriptor) noexcept {
  try {
    const std::string text = std::to_string(getpid()) + " " + process_namespace();
    // Messages are all that depends on it.
    if (ftruncate(descriptor, 0) != 0) return;
    if (pwrite(descriptor, text.data(), text.size(), 0) < 0) return;
  } catch (const std::exception&) {
  }
}

std::string describe_owner(int descriptor) {
  std::array<char, 128> room{};
  const ssize_t size = pread(descriptor, room.data(), room.size() - 1, 0);
  char* rest = room.data();
  const long number = size > 0 ? std::strtol(room.data(), &rest, 10) : 0;
  if (number <= 0 || *rest != ' ') return "another process";
  std::string text = "process " + std::to_string(number);
  if (process_namespace() != rest + 1) return text + " of another container";
  const std::string process = "/proc/" + std::to_string(number);
  struct stat found{};
  if (stat(process.c_str(), &found) != 0) {
    return text + ", which has ended, or one that it started";
  }
  text += " of user " + user_of(found.st_uid);
  const std::string command = command_of(process);
  return command.empty() ? text : text + " (" + command + ")";
}

}  // namespace emulator
