// Products of many small matrices, which are too small for a call of a library each.

#ifndef NKIPY_EMULATOR_SMALL_PRODUCTS_H_
#define NKIPY_EMULATOR_SMALL_PRODUCTS_H_

#include "axes.h"
#include "handled_call.h"
#include "scan_calls.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Results m by n, of k terms each; steps in elements.
struct SmallProduct {
  size_t m, k, n;
  size_t left_row, left_term, right_term, right_column;
};

constexpr size_t kMostColumns = 8;
constexpr size_t kProductPiece = size_t{1} << 15;  // multiplications of a piece

// Terms are added in order, of a row of results at once. `N` is their number if that is
// known beforehand, else 0.
template <size_t N, typename T>
void multiply_small(const SmallProduct& p, const T* left, const T* right, T* result) {
  using W = typename Wrapping<T>::Type;
  const size_t n = N != 0 ? N : p.n;
  for (size_t i = 0; i < p.m; ++i, result += n) {
    W sums[N != 0 ? N : kMostColumns] = {};
    for (size_t k = 0; k < p.k; ++k) {
      const W x = static_cast<W>(left[i * p.left_row + k * p.left_term]);
      const T* row = right + k * p.right_term;
      for (size_t j = 0; j < n; ++j)
        sums[j] += x * static_cast<W>(row[j * p.right_column]);
    }
    for (size_t j = 0; j < n; ++j) result[j] = static_cast<T>(sums[j]);
  }
}

// The same with rows of `right` side by side.
template <size_t N, typename T>
void multiply_plain(const SmallProduct& p, const T* left, const T* right, T* result) {
  SmallProduct plain = p;
  plain.right_column = 1;
  multiply_small<N>(plain, left, right, result);
}

template <typename T>
auto small_kernel(const SmallProduct& p) {
  if (p.right_column != 1) return &multiply_small<0, T>;
  switch (p.n) {
    case 2:
      return &multiply_plain<2, T>;
    case 3:
      return &multiply_plain<3, T>;
    case 4:
      return &multiply_plain<4, T>;
    case 5:
      return &multiply_plain<5, T>;
    case 6:
      return &multiply_plain<6, T>;
    case 7:
      return &multiply_plain<7, T>;
    case 8:
      return &multiply_plain<8, T>;
    default:
      return &multiply_plain<0, T>;
  }
}

template <typename T>
ffi::Error share_small(const Team& team, const SmallProduct& p, size_t batch,
                       const Operand& x, const Operand& y, const ffi::AnyBuffer& z) {
  const auto kernel = small_kernel<T>(p);
  const T* left = x.as<T>();
  const T* right = y.as<T>();
  auto* result = static_cast<T*>(z.untyped_data());
  const size_t work = p.m * std::max<size_t>(p.k, 1) * p.n;
  const size_t length = std::max<size_t>(kProductPiece / work, 1);
  const bool done = share_work(team, (batch + length - 1) / length, [&](size_t piece) {
    const size_t end = std::min((piece + 1) * length, batch);
    for (size_t i = piece * length; i < end; ++i) {
      kernel(p, left + i * p.m * p.k, right + i * p.k * p.n, result + i * p.m * p.n);
    }
  });
  return team.outcome(done);
}

// `sizes`: batch, m, k, n. `turned`: whether an operand lies there transposed.
inline ffi::Error small_products_call(ffi::ThreadPool pool,
                                      ffi::Span<const int64_t> words,
                                      ffi::Span<const int64_t> sizes,
                                      ffi::Span<const int64_t> turned,
                                      ffi::RemainingArgs args,
                                      ffi::Result<ffi::AnyBuffer> result) {
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [x, y] = operands;
  if (sizes.size() != 4 || turned.size() != 2) return wrong_call("not four sizes");
  const auto size = [&](size_t i) { return static_cast<size_t>(sizes[i]); };
  SmallProduct p{size(1), size(2), size(3), size(2), 1, size(3), 1};
  if (turned[0] != 0) p.left_row = 1, p.left_term = p.m;
  if (turned[1] != 0) p.right_term = 1, p.right_column = p.k;
  const size_t batch = size(0);
  const int64_t left[] = {sizes[0], sizes[1], sizes[2]};
  const int64_t right[] = {sizes[0], sizes[2], sizes[3]};
  const int64_t made[] = {sizes[0], sizes[1], sizes[3]};
  if (p.n > kMostColumns || !are_sizes_of(left, x.count) ||
      !are_sizes_of(right, y.count) || !are_sizes_of(made, result->element_count())) {
    return wrong_call("sizes that are not the operands'");
  }
  if (y.type != x.type || result->element_type() != x.type) {
    return wrong_call("types that differ");
  }
  if (result->element_count() == 0) return ffi::Error::Success();
  const Team team(pool, args, words);
  switch (x.type) {
    case ffi::DataType::F32:
      return share_small<float>(team, p, batch, x, y, *result);
    case ffi::DataType::F64:
      return share_small<double>(team, p, batch, x, y, *result);
    case ffi::DataType::S32:
      return share_small<int32_t>(team, p, batch, x, y, *result);
    case ffi::DataType::U32:
      return share_small<uint32_t>(team, p, batch, x, y, *result);
    default:
      return wrong_call("elements of another type");
  }
}

XLA_FFI_DEFINE_HANDLER(kSmallProductsCall, small_products_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("sizes")
                           .Attr<ffi::Span<const int64_t>>("turned")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SMALL_PRODUCTS_H_
