// The custom call that gathers whole rows.

#ifndef NKIPY_EMULATOR_ROW_CALLS_H_
#define NKIPY_EMULATOR_ROW_CALLS_H_

#include <string.h>

#include <type_traits>

#include "element_calls.h"
#include "handled_call.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Bytes that are worth the way to another thread.
constexpr size_t kPieceBytes = size_t{1} << 16;

// Which rows, of how many. As HLO's gather, an index outside is moved to the first or
// the last row; if they wrap, negative ones count from the end before that.
template <typename Index>
class RowIndices {
 public:
  RowIndices(const Index* first, size_t rows, bool wrap)
      : first_(first),
        last_(static_cast<int64_t>(rows) - 1),
        added_(wrap && std::is_signed_v<Index> ? static_cast<int64_t>(rows) : 0) {}

  size_t operator[](size_t i) const {  // without a branch
    const auto index = static_cast<int64_t>(first_[i]);
    const int64_t moved = index + (index < 0 ? added_ : 0);
    const int64_t below = moved > last_ ? last_ : moved;
    return static_cast<size_t>(below < 0 ? 0 : below);
  }

 private:
  const Index* const first_;
  const int64_t last_, added_;
};

// Of as many bytes as T has.
template <typename T, typename Index>
void copy_elements(const char* from, RowIndices<Index> indices, size_t begin,
                   size_t end, char* to) {
  for (size_t i = begin; i < end; ++i) {
    memcpy(to + i * sizeof(T), from + indices[i] * sizeof(T), sizeof(T));
  }
}

template <typename Index>
void copy_rows(const char* from, size_t bytes, RowIndices<Index> indices, size_t begin,
               size_t end, char* to) {
  switch (bytes) {
    case 1:
      return copy_elements<uint8_t>(from, indices, begin, end, to);
    case 2:
      return copy_elements<uint16_t>(from, indices, begin, end, to);
    case 4:
      return copy_elements<uint32_t>(from, indices, begin, end, to);
    case 8:
      return copy_elements<uint64_t>(from, indices, begin, end, to);
    default:
      for (size_t i = begin; i < end; ++i) {
        memcpy(to + i * bytes, from + indices[i] * bytes, bytes);
      }
  }
}

template <typename Index>
ffi::Error share_rows(const Team& team, const Operand& table, size_t rows,
                      const Operand& which, bool wraps, const ffi::AnyBuffer& result) {
  const size_t count = which.count, bytes = table.count * table.itemsize() / rows;
  size_t nbytes;
  if (__builtin_mul_overflow(count, bytes, &nbytes) || result.size_bytes() != nbytes ||
      result.element_type() != table.type) {
    return wrong_call("shapes that differ");
  }
  if (count == 0 || bytes == 0) return ffi::Error::Success();
  const size_t length = std::max<size_t>(kPieceBytes / bytes, 1);
  const char* from = table.data;
  const RowIndices<Index> indices{which.as<Index>(), rows, wraps};
  auto* to = static_cast<char*>(result.untyped_data());
  const bool done = share_work(
      team, (count + length - 1) / length,
      [&](size_t piece) {
        const size_t begin = piece * length;
        copy_rows(from, bytes, indices, begin, std::min(count, begin + length), to);
      },
      true);
  return team.outcome(done);
}

// Rows of a table of so many, whatever a row is. With `wraps`, negative indices count
// from the end.
inline ffi::Error rows_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                            int64_t table_rows, int64_t wraps, ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> result) {
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [table, indices] = operands;
  const auto rows = static_cast<size_t>(table_rows);
  if (table_rows <= 0 || table.count % rows != 0) {
    return wrong_call("a table without rows");
  }
  const Team team(pool, args, words);
  switch (indices.type) {
    case ffi::DataType::S32:
      return share_rows<int32_t>(team, table, rows, indices, wraps != 0, *result);
    case ffi::DataType::U32:
      return share_rows<uint32_t>(team, table, rows, indices, wraps != 0, *result);
    case ffi::DataType::S64:
      return share_rows<int64_t>(team, table, rows, indices, wraps != 0, *result);
    default:
      return wrong_call("indices of another type");
  }
}

XLA_FFI_DEFINE_HANDLER(kRowsCall, rows_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<int64_t>("rows")
                           .Attr<int64_t>("wraps")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ROW_CALLS_H_
