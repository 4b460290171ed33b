#include "neff_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "nrt_wrapper.h"

namespace spike {
namespace {

constexpr const char* kNotRegular = "it is not a regular file";

// Closes a file.
struct OpenFile {
  explicit OpenFile(int file) : file(file) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { close(file); }

  const int file;
};

[[noreturn]] void refuse_file(const std::string& path, const char* why) {
  throw NeffFileError("Failed to read NEFF file: " + path + ": " + why);
}

// Opens at once, as a named pipe would not, and looks then at what it has.
int open_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  // What a socket says.
  if (file < 0 && errno == ENXIO) refuse_file(path, kNotRegular);
  if (file < 0)
    throw NeffFileError(
        "Failed to open NEFF file: " + path +
        ". Please check if the file exists and have read permission. (" +
        std::strerror(errno) + ")");
  return file;
}

}  // namespace

std::pair<std::unique_ptr<char[]>, size_t> read_neff(const std::string& path) {
  const OpenFile opened(open_file(path));
  struct stat found{};
  if (fstat(opened.file, &found)) refuse_file(path, std::strerror(errno));
  if (!S_ISREG(found.st_mode)) refuse_file(path, kNotRegular);
  const size_t size = found.st_size;
  std::unique_ptr<char[]> data(new char[size]);
  for (size_t done = 0; done < size;) {
    const ssize_t count = read(opened.file, data.get() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_file(path, std::strerror(errno));
    if (count == 0) refuse_file(path, "it became shorter");
    done += count;
  }
  return {std::move(data), size};
}

}  // namespace spike
