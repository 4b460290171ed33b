#include "profile_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "status.h"

namespace emulator::profile {
namespace {

[[noreturn]] void fail(const std::string& action, const std::string& path) {
  throw StatusError(NRT_FAILURE,
                    "cannot " + action + " '" + path + "': " + strerror(errno));
}

/// A descriptor, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const noexcept { return number_; }

  /// False, with errno, if not all of it could be written.
  bool write_all(const std::string& content) const {
    std::size_t done = 0;
    while (done < content.size()) {
      const ssize_t count =
          write(number_, content.data() + done, content.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      done += static_cast<std::size_t>(count);
    }
    return true;
  }

 private:
  const int number_;
};

/// `path` without links; itself if there is no such file yet.
std::string resolved(const std::string& path) {
  char* const real = realpath(path.c_str(), nullptr);
  if (!real) return path;
  const std::string result = real;
  free(real);
  return result;
}

bool is_special(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
}

void write_in_place(const std::string& path, const std::string& content) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0 || !file.write_all(content)) fail("write", path);
}

/// A name that no other thread or process takes.
std::string temporary_name(const std::string& target) {
  static std::atomic<unsigned> count{0};
  return target + "." + std::to_string(getpid()) + "-" + std::to_string(++count) +
         ".tmp";
}

/// The first bytes of an ordinary file; empty if there is none.
std::string beginning(const std::string& path) {
  constexpr std::size_t kBytes = 64;  // more than half of what a profile says of itself
  const Descriptor file(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  char bytes[kBytes];
  const ssize_t count = file.number() < 0 ? 0 : read(file.number(), bytes, kBytes);
  return std::string(bytes, count > 0 ? static_cast<std::size_t>(count) : 0);
}

/// A new file; number -1, with errno, if that fails.
Descriptor create(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  return Descriptor(open(path.c_str(), kFlags, 0666));
}

}  // namespace

std::string writable_path(const std::string& path) {
  const std::string target = resolved(path);
  struct stat found;
  if (stat(target.c_str(), &found) == 0) {
    errno = EISDIR;
    if (S_ISDIR(found.st_mode)) fail("write", path);
    if (access(target.c_str(), W_OK) != 0) fail("write", path);
    if (!S_ISREG(found.st_mode)) return target;
  }
  // Asking for permissions is not enough: root has them where nothing can be made.
  const std::string trial = temporary_name(target);
  const Descriptor file = create(trial);
  if (file.number() < 0) fail("write", path);
  unlink(trial.c_str());
  return target;
}

void write_file(const std::string& path, const std::string& content) {
  const std::string target = resolved(path);
  if (is_special(target)) {
    write_in_place(target, content);
    return;
  }
  const std::string temporary = temporary_name(target);
  const Descriptor file = create(temporary);
  if (file.number() < 0) fail("write", target);
  if (!file.write_all(content) || rename(temporary.c_str(), target.c_str()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    errno = reason;
    fail("write", target);
  }
}

void add_json_name(const std::string& path) {
  const std::string target = resolved(path), suffix = ".json";
  const bool has_suffix =
      target.size() >= suffix.size() &&
      target.compare(target.size() - suffix.size(), suffix.size(), suffix) == 0;
  if (has_suffix || is_special(target)) return;
  const std::string name = target + suffix, temporary = temporary_name(name);
  struct stat found;
  if (lstat(name.c_str(), &found) == 0 && beginning(name) != beginning(target)) return;
  if (link(target.c_str(), temporary.c_str()) != 0) return;
  if (rename(temporary.c_str(), name.c_str()) != 0) unlink(temporary.c_str());
}

void make_directories(const std::string& path) {
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0777) != 0 && errno != EEXIST) fail("make", part);
  }
}

}  // namespace emulator::profile
