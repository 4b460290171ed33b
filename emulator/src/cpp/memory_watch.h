// Tells by the page table whether memory has been written to, without reading it.
//
// Linux from 6.7 on notes writes to write-protected pages by itself, for any process
// (userfaultfd(2), UFFD_FEATURE_WP_ASYNC), and says which pages are untouched
// (PAGEMAP_SCAN in the kernel's admin-guide/mm/pagemap.rst). Elsewhere, and where a
// sandbox forbids it, no watch begins, and the caller reads the memory.
//
// Only private anonymous memory is watched: other processes may write to the rest
// through page tables of their own. Devices write past page tables to pages that were
// pinned for them before, so that no watch begins while the system has pinned pages.

#ifndef NKIPY_EMULATOR_MEMORY_WATCH_H_
#define NKIPY_EMULATOR_MEMORY_WATCH_H_

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "python_support.h"
#include "write_protection.h"

namespace nkipy {

// The memory that is watched, in ranges of whole pages that do not overlap.
class MemoryWatches {
 public:
  // Lives as long as the process. A fork's child has none of its parent's watches.
  static MemoryWatches& of_process() {
    static auto& watches = *new MemoryWatches;
    return watches;
  }

  // Watches the range for one caller more, who ends it by `leave`.
  //
  // Returns a number of what the memory holds from now on, until it is written to;
  // 0, and nothing is watched, if that cannot be.
  uint64_t enter(const Span& range) {
    if (!mine()) return 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = watched_.find(range.begin);
    if (found != watched_.end() && found->second.range.size == range.size) {
      Watched& one = found->second;
      if (!is_untouched(one)) {
        one.number = ++last_;  // before what may fail: no earlier number holds
        if (!protection_.protect(range) || has_pinned_pages()) return 0;
      }
      ++one.watchers;
      return one.number;
    }
    if (overlaps_another(range)) return 0;
    if (!protection_.add(range)) return 0;
    if (!protection_.protect(range) || has_pinned_pages()) {
      protection_.remove(range);
      return 0;
    }
    watched_[range.begin] = {range, ++last_, 1};
    return last_;
  }

  // Whether the memory holds what it did when `enter` gave that number.
  bool holds(const Span& range, uint64_t number) {
    if (!mine()) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = watched_.find(range.begin);
    return found != watched_.end() && found->second.number == number &&
           is_untouched(found->second);
  }

  void leave(const Span& range) {
    if (!mine()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = watched_.find(range.begin);
    if (found == watched_.end() || --found->second.watchers > 0) return;
    protection_.remove(range);
    watched_.erase(found);
  }

 private:
  struct Watched {
    Span range;
    uint64_t number = 0;
    size_t watchers = 0;
  };

  bool mine() const { return getpid() == process_ && protection_.works(); }
  bool is_untouched(const Watched& one) const {
    return protection_.is_untouched(one.range);
  }

  bool overlaps_another(const Span& range) const {
    auto next = watched_.lower_bound(range.begin);
    if (next != watched_.end() && next->second.range.overlaps(range)) return true;
    return next != watched_.begin() && (--next)->second.range.overlaps(range);
  }

  const pid_t process_ = getpid();
  WriteProtection protection_;
  std::mutex mutex_;
  std::map<uintptr_t, Watched> watched_;
  uint64_t last_ = 0;
};

// Parses (address, nbytes[, number]) of whole pages.
inline bool parse_range(PyObject* args, const char* format, Span* range,
                        unsigned long long* number) {
  unsigned long long address, nbytes;
  if (!PyArg_ParseTuple(args, format, &address, &nbytes, number)) return false;
  *range = {static_cast<uintptr_t>(address), static_cast<size_t>(nbytes)};
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (nbytes == 0 || address % page != 0 || nbytes % page != 0 ||
      range->end() < range->begin) {
    PyErr_SetString(PyExc_ValueError, "a watch is of whole pages");
    return false;
  }
  return true;
}

// watch(address, nbytes): a number for `watch_holds`; 0 if nothing is watched.
inline PyObject* watch(PyObject*, PyObject* args) {
  Span range;
  if (!parse_range(args, "KK", &range, nullptr)) return nullptr;
  try {
    return PyLong_FromUnsignedLongLong(MemoryWatches::of_process().enter(range));
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

// watch_holds(address, nbytes, number): whether nobody has written since.
inline PyObject* watch_holds(PyObject*, PyObject* args) {
  Span range;
  unsigned long long number;
  if (!parse_range(args, "KKK", &range, &number)) return nullptr;
  return PyBool_FromLong(MemoryWatches::of_process().holds(range, number));
}

// end_watch(address, nbytes): for each `watch` that gave a number.
inline PyObject* end_watch(PyObject*, PyObject* args) {
  Span range;
  if (!parse_range(args, "KK", &range, nullptr)) return nullptr;
  MemoryWatches::of_process().leave(range);
  Py_RETURN_NONE;
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MEMORY_WATCH_H_
