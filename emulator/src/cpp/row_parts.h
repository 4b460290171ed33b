// Divides rows among threads: several at once, or one that is long.

#ifndef NKIPY_EMULATOR_ROW_PARTS_H_
#define NKIPY_EMULATOR_ROW_PARTS_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <memory>

#include "element_calls.h"
#include "handled_call.h"
#include "numpy_environment.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

// Rows of fewer elements are not divided among threads: of those that are sorted, and
// of those that are looked through.
constexpr size_t kLongRow = size_t{1} << 16, kLongReadRow = size_t{1} << 18;
constexpr size_t kMostParts = 16;

// A row in parts, each of which a thread of its own may work on.
struct Parts {
  const Team& team;
  size_t count, parts;
  bool divided;

  // One part, unless it is to be divided, and long.
  Parts(const Team& threads, bool divide, size_t elements, size_t long_row = kLongRow)
      : team(threads), count(elements), parts(1), divided(divide) {
    if (divided && count >= long_row) parts = std::min(team.threads(), kMostParts);
  }

  size_t begin(size_t part) const {
    return count / parts * part + std::min(part, count % parts);
  }

  // Calls `function(part, begin, end)` for each part; false without memory, or if the
  // call is over.
  template <typename Function>
  bool each(const Function& function) const {
    if (parts == 1) {
      if (team.is_over()) return false;
      function(size_t{0}, size_t{0}, count);
      return true;
    }
    return share_work(team, parts, [&](size_t part) {
      function(part, begin(part), begin(part + 1));
    });
  }
};

// Memory that one row after the other uses.
class Scratch {
 public:
  template <typename T>
  T* of(size_t count) {
    if (count * sizeof(T) > size_) {
      bytes_.reset();
      bytes_.reset(new char[count * sizeof(T)]);  // aligned for whatever fits into it
      size_ = count * sizeof(T);
    }
    return reinterpret_cast<T*>(bytes_.get());
  }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

// Calls `function(whether all threads share it, row, scratch)`: rows at once, or one by
// one and each by all threads. It returns false without memory or if the call is over,
// or throws.
template <typename Function>
bool for_rows(const Team& team, size_t rows, size_t count, const Function& function,
              size_t long_row = kLongRow) {
  if (rows < team.threads() && count >= long_row) {
    const NumpyEnvironment environment;
    Scratch scratch;
    bool done = true;
    for (size_t row = 0; done && row < rows; ++row) {
      done = function(true, row, &scratch);
    }
    return done;
  }
  const size_t length = piece_length(rows * count, team.threads());
  const size_t together = std::max<size_t>(length / std::max<size_t>(count, 1), 1);
  return share_work(team, (rows + together - 1) / together, [&](size_t piece) {
    Scratch scratch;
    const size_t end = std::min(rows, (piece + 1) * together);
    for (size_t row = piece * together; row < end; ++row) {
      if (!function(false, row, &scratch)) throw std::bad_alloc();
    }
  });
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ROW_PARTS_H_
