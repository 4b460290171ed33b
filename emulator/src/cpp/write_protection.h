// Linux's write-protection of a process's own pages, which ends page by page with the
// first write to each.

#ifndef NKIPY_EMULATOR_WRITE_PROTECTION_H_
#define NKIPY_EMULATOR_WRITE_PROTECTION_H_

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "python_support.h"

namespace nkipy {

struct CloseFile {
  void operator()(FILE* file) const { fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

// Whether all of a range is memory that no other process can write to: private, and of
// no file, as the lines of /proc/self/maps say (proc_pid_maps(5)).
inline bool is_private_memory(const Span& range) {
  const File maps(fopen("/proc/self/maps", "re"));
  if (!maps) return false;
  uintptr_t reached = range.begin;
  char line[512];
  bool begins = true;  // a long name is read in several parts
  while (reached < range.end() && fgets(line, sizeof(line), maps.get()) != nullptr) {
    const bool is_line = begins;
    begins = strchr(line, '\n') != nullptr;
    if (!is_line) continue;
    uintptr_t first, end;
    char access[5];
    unsigned long inode;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %*x:%*x %lu", &first, &end,
               access, &inode) != 4) {
      return false;
    }
    if (end <= reached) continue;
    if (first > reached || access[3] != 'p' || inode != 0) return false;
    reached = end;
  }
  return reached >= range.end();
}

// Whether the system has pinned pages for devices, of whatever process; also if it does
// not say.
inline bool has_pinned_pages() {
  const File counts(fopen("/proc/vmstat", "re"));
  if (!counts) return true;
  uint64_t pinned = 0, released = 0, count;
  int found = 0;
  char name[64];
  while (fscanf(counts.get(), "%63s %" SCNu64, name, &count) == 2) {
    if (strcmp(name, "nr_foll_pin_acquired") == 0) pinned = count, ++found;
    if (strcmp(name, "nr_foll_pin_released") == 0) released = count, ++found;
  }
  return found != 2 || pinned != released;
}

class WriteProtection {
 public:
  WriteProtection() {
#ifdef SYS_userfaultfd
    faults_ = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1));
    if (faults_ < 0) return;  // 1: of user mode only, which needs no privilege
    uint64_t api[3] = {0xAA, kNotesWrites, 0};
    if (ioctl(faults_, _IOWR(0xAA, 0x3F, api), api) == 0) {
      pages_ = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    }
#endif
  }
  WriteProtection(const WriteProtection&) = delete;

  bool works() const { return pages_ >= 0; }

  // Lets `protect` work on whole pages of private memory that nobody else protects.
  bool add(const Span& range) const {
    uint64_t request[4] = {range.begin, range.size, kRegisterProtect, 0};
    return is_private_memory(range) &&
           ioctl(faults_, _IOWR(0xAA, 0x00, request), request) == 0;
  }

  void remove(const Span& range) const {
    uint64_t request[2] = {range.begin, range.size};
    // Fails where the memory is not there any more, and its protection neither.
    (void)ioctl(faults_, _IOR(0xAA, 0x01, request), request);
  }

  bool protect(const Span& range) const {
    uint64_t request[3] = {range.begin, range.size, kProtect};
    return ioctl(faults_, _IOWR(0xAA, 0x06, request), request) == 0;
  }

  // Whether all pages are there, and nobody has written to them since `protect`.
  bool is_untouched(const Span& range) const {
    Region region{};
    Scan scan{};
    scan.size = sizeof(scan);
    scan.flags = kOnlyProtectable;
    scan.start = range.begin;
    scan.end = range.end();
    scan.regions = reinterpret_cast<uintptr_t>(&region);
    scan.region_count = 1;
    scan.inverted = scan.all_of = kWritten;
    scan.any_of = kPresent | kSwapped;
    scan.returned = kWritten;  // so that all that is found is one region
    const long found = ioctl(pages_, _IOWR('f', 16, Scan), &scan);
    return found == 1 && region.start == range.begin && region.end == range.end();
  }

 private:
  struct Region {
    uint64_t start, end, categories;
  };
  struct Scan {
    uint64_t size, flags, start, end, walk_end, regions, region_count, most_pages;
    uint64_t inverted, all_of, any_of, returned;
  };
  static constexpr uint64_t kNotesWrites = 1 << 15;  // UFFD_FEATURE_WP_ASYNC
  static constexpr uint64_t kRegisterProtect = 1 << 1;
  static constexpr uint64_t kProtect = 1 << 0;
  static constexpr uint64_t kOnlyProtectable = 1 << 1;  // PM_SCAN_CHECK_WPASYNC
  static constexpr uint64_t kWritten = 1 << 1, kPresent = 1 << 3, kSwapped = 1 << 4;

  int faults_ = -1;
  int pages_ = -1;
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_WRITE_PROTECTION_H_
