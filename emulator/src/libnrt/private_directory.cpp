#include "private_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "status.h"

namespace emulator {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
// Opening does not wait, as that of a named pipe would.
constexpr int kLockFile = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw StatusError(NRT_FAILURE, "cannot use " + path + ": " + reason +
                                     " (NKIPY_EMULATOR_LOCK_DIR names another place)");
}

/// For errno, which a link makes ENOTDIR or ELOOP.
[[noreturn]] void fail_for_errno(const std::string& path, int above,
                                 const std::string& name) {
  const int error = errno;
  struct stat found;
  const bool is_link = fstatat(above, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
                       S_ISLNK(found.st_mode);
  fail(path, is_link ? "it is a link, which is not followed here"
                     : std::string(std::strerror(error)));
}

void check_private(const std::string& path, int descriptor) {
  struct stat found;
  if (fstat(descriptor, &found) != 0) fail(path, std::strerror(errno));
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o",
                static_cast<unsigned>(found.st_mode & 07777));
  const std::string told =
      "it belongs to user " + std::to_string(found.st_uid) + " and has mode " + mode;
  if (found.st_uid != geteuid()) {
    fail(path, told + ", but this process runs as user " + std::to_string(geteuid()));
  }
  if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    fail(path, told + ": other users can write it; run chmod go-w " + path);
  }
}

void make_parents(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos;
       end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      fail(part, std::strerror(errno));
    }
  }
}

std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

PrivateDirectory::PrivateDirectory(const std::string& path)
    : PrivateDirectory(without_last_slashes(path), AT_FDCWD,
                       without_last_slashes(path)) {}

PrivateDirectory::PrivateDirectory(const std::string& path, int above,
                                   const std::string& name)
    : path_(path) {
  if (above == AT_FDCWD) make_parents(path);
  if (mkdirat(above, name.c_str(), 0700) != 0 && errno != EEXIST) {
    fail(path, std::strerror(errno));
  }
  descriptor_ = Descriptor(openat(above, name.c_str(), kDirectory));
  if (!descriptor_) fail_for_errno(path, above, name);
  check_private(path, descriptor_.get());
}

PrivateDirectory PrivateDirectory::below(const std::string& name) const {
  return PrivateDirectory(path_ + "/" + name, descriptor_.get(), name);
}

Descriptor PrivateDirectory::open_lock_file(const std::string& name) const {
  const std::string path = path_ + "/" + name;
  Descriptor file(openat(descriptor_.get(), name.c_str(), kLockFile, 0600));
  if (!file) fail_for_errno(path, descriptor_.get(), name);
  check_private(path, file.get());
  return file;
}

}  // namespace emulator
