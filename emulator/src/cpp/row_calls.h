// The custom call that gathers whole rows.

#ifndef NKIPY_EMULATOR_ROW_CALLS_H_
#define NKIPY_EMULATOR_ROW_CALLS_H_

#include <string.h>

#include <type_traits>

#include "element_calls.h"
#include "work_sharing.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Bytes that are worth the way to another thread.
constexpr size_t kPieceBytes = size_t{1} << 16;

// As HLO's gather: an index outside is moved to the first or the last row.
template <typename Index>
size_t row_inside(Index index, size_t rows) {
  if (std::is_signed_v<Index> && index < 0) return 0;
  return static_cast<size_t>(
      std::min<uint64_t>(static_cast<uint64_t>(index), rows - 1));
}

template <typename Index>
void copy_rows(const char* from, size_t rows, size_t bytes, const Index* indices,
               size_t count, char* to) {
  for (size_t i = 0; i < count; ++i) {
    memcpy(to + i * bytes, from + row_inside(indices[i], rows) * bytes, bytes);
  }
}

template <typename Index>
ffi::Error share_rows(ffi::ThreadPool& pool, const ffi::AnyBuffer& table, size_t rows,
                      const ffi::AnyBuffer& indices, const ffi::AnyBuffer& result) {
  const size_t count = indices.element_count(), bytes = table.size_bytes() / rows;
  if (result.size_bytes() != count * bytes) return wrong_call("shapes that differ");
  if (count == 0 || bytes == 0) return ffi::Error::Success();
  const size_t length = std::max<size_t>(kPieceBytes / bytes, 1);
  const auto* from = static_cast<const char*>(table.untyped_data());
  const auto* first = static_cast<const Index*>(indices.untyped_data());
  auto* to = static_cast<char*>(result.untyped_data());
  const bool done = share_work(pool, (count + length - 1) / length, [&](size_t piece) {
    const size_t begin = piece * length, size = std::min(length, count - begin);
    copy_rows(from, rows, bytes, first + begin, size, to + begin * bytes);
  });
  return done ? ffi::Error::Success() : no_memory();
}

// Rows of a table, whatever a row is.
inline ffi::Error rows_call(ffi::ThreadPool pool, ffi::AnyBuffer table,
                            ffi::AnyBuffer indices,
                            ffi::Result<ffi::AnyBuffer> result) {
  if (table.dimensions().size() == 0 || table.dimensions()[0] <= 0) {
    return wrong_call("a table without rows");
  }
  const auto rows = static_cast<size_t>(table.dimensions()[0]);
  switch (indices.element_type()) {
    case ffi::DataType::S32:
      return share_rows<int32_t>(pool, table, rows, indices, *result);
    case ffi::DataType::U32:
      return share_rows<uint32_t>(pool, table, rows, indices, *result);
    case ffi::DataType::S64:
      return share_rows<int64_t>(pool, table, rows, indices, *result);
    default:
      return wrong_call("indices of another type");
  }
}

XLA_FFI_DEFINE_HANDLER(kRowsCall, rows_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_ROW_CALLS_H_
