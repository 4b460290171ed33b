// Products of large matrices by the kernels of vectors: of some terms, columns are
// packed once for all rows, by all threads, and rows by the thread that has them.

#ifndef NKIPY_EMULATOR_PACKED_PRODUCTS_H_
#define NKIPY_EMULATOR_PACKED_PRODUCTS_H_

#include <stddef.h>

#include <algorithm>

#include "handled_call.h"
#include "product_operands.h"
#include "vector_kernels.h"

namespace nkipy {

// What is packed at a time. Each sum is that of so many terms after the other.
constexpr size_t kPackedTerms = 256, kPackedColumns = 2048;
// Rows of kernels that a piece of work has at most.
constexpr size_t kMostPackedRows = 8;
// Rows and columns, and terms, of products that are worth it.
constexpr size_t kLeastPackedSide = 32, kLeastPackedTerms = 16;

// Elements of a cache line.
template <typename T>
constexpr size_t kRun = 64 / sizeof(T);

// Whether they are large enough.
inline bool are_for_packing(const Products& p) {
  return std::min(p.m, p.n) >= kLeastPackedSide && p.k >= kLeastPackedTerms;
}

// `to[k * width + i]`: term k of row (or column) i, zero of those behind the last.
template <typename T>
void pack(const ProductOperand& from, size_t count, size_t terms, size_t width, T* to) {
  const size_t free = from.free / sizeof(T), term = from.term / sizeof(T);
  const T* x = reinterpret_cast<const T*>(from.first);
  if (count < width) std::fill(to, to + width * terms, T{});
  if (free == 1) {
    for (size_t k = 0; k < terms; ++k) std::copy_n(x + k * term, count, to + k * width);
    return;
  }
  for (size_t k = 0; k < terms; k += kRun<T>) {
    const size_t end = std::min(k + kRun<T>, terms);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = k; j < end; ++j) to[j * width + i] = x[i * free + j * term];
    }
  }
}

template <typename T>
class PackedProducts {
 public:
  PackedProducts(const Team& team, const Products& products,
                 const VectorKernels<T>& kernels)
      : team_(team),
        p_(products),
        kernels_(kernels),
        is_symmetric_(products.is_square_of_one()) {
    const size_t even = p_.m / (kernels.rows * kManyPieces * team.threads());
    piece_ = kernels.rows * std::clamp<size_t>(even, 1, kMostPackedRows);
    const size_t columns = parts(p_.n, kernels.columns) * kernels.columns;
    width_ = std::min(columns, kPackedColumns);
    right_ = allocate(width_ * std::min(p_.k, kPackedTerms) * sizeof(T));
  }

  bool share() const {
    for (size_t product = 0; product < p_.batch; ++product) {
      for (size_t column = 0; column < p_.n; column += width_) {
        for (size_t term = 0; term < p_.k; term += kPackedTerms) {
          if (!share_part({product, column, std::min(width_, p_.n - column), term,
                           std::min(kPackedTerms, p_.k - term)})) {
            return false;
          }
        }
      }
      if (is_symmetric_ && !share_mirror(product)) return false;
    }
    return true;
  }

 private:
  // Of one of the products: some columns of all rows, by some of the terms.
  struct Part {
    size_t product, column, columns, term, terms;
  };

  bool share_part(const Part& part) const {
    T* right = static_cast<T*>(right_.get());
    const size_t width = kernels_.columns;
    const auto pack_columns = [&](size_t panel) {
      const size_t first = panel * width;
      pack(p_.right.at(part.product, part.column + first, part.term),
           std::min(width, part.columns - first), part.terms, width,
           right + first * part.terms);
    };
    return share_work(team_, parts(part.columns, width), pack_columns, true) &&
           share_work(
               team_, parts(p_.m, piece_),
               [&](size_t piece) { multiply_rows(part, piece * piece_); }, true);
  }

  void multiply_rows(const Part& part, size_t row) const {
    const size_t rows = std::min(piece_, p_.m - row), height = kernels_.rows;
    const Memory memory = allocate(piece_ * part.terms * sizeof(T));
    T* left = static_cast<T*>(memory.get());
    for (size_t i = 0; i < rows; i += height) {
      pack(p_.left.at(part.product, row + i, part.term), std::min(height, rows - i),
           part.terms, height, left + i * part.terms);
    }
    const T* right = static_cast<const T*>(right_.get());
    for (size_t j = 0; j < part.columns; j += kernels_.columns) {
      // What is below the diagonal of a symmetric result is not computed.
      const size_t end = part.column + j + kernels_.columns;
      if (is_symmetric_ && end <= row) continue;
      for (size_t i = 0; i < rows; i += height) {
        multiply_block(part, left + i * part.terms, right + j * part.terms, row + i,
                       part.column + j);
      }
    }
  }

  void multiply_block(const Part& part, const T* left, const T* right, size_t row,
                      size_t column) const {
    T* to = reinterpret_cast<T*>(p_.result(part.product, row, column));
    const size_t rows = std::min(kernels_.rows, p_.m - row);
    const size_t columns = std::min(kernels_.columns, p_.n - column);
    const bool adds = part.term != 0;
    if (rows == kernels_.rows && columns == kernels_.columns) {
      return kernels_.multiply_block(left, right, part.terms, to, p_.n, adds);
    }
    T sums[kMostBlockResults];
    kernels_.multiply_block(left, right, part.terms, sums, kernels_.columns, false);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        const T sum = sums[i * kernels_.columns + j];
        to[i * p_.n + j] = adds ? to[i * p_.n + j] + sum : sum;
      }
    }
  }

  bool share_mirror(size_t product) const {
    T* results = reinterpret_cast<T*>(p_.result(product, 0, 0));
    return share_work(
        team_, parts(p_.m, piece_),
        [&](size_t piece) {
          const size_t begin = piece * piece_, end = std::min(begin + piece_, p_.m);
          for (size_t i = begin; i < end; i += kRun<T>) {
            const size_t stop = std::min(i + kRun<T>, end);
            for (size_t j = 0; j < stop; j += kRun<T>) mirror_tile(results, i, stop, j);
          }
        },
        true);
  }

  // Some rows of what is below the diagonal, from a column on.
  void mirror_tile(T* results, size_t row, size_t end, size_t column) const {
    for (size_t i = row; i < end; ++i) {
      const size_t stop = std::min(column + kRun<T>, i);
      for (size_t j = column; j < stop; ++j) {
        results[i * p_.n + j] = results[j * p_.n + i];
      }
    }
  }

  const Team& team_;
  const Products& p_;
  const VectorKernels<T>& kernels_;
  const bool is_symmetric_;
  size_t piece_, width_;  // rows of a piece of work, columns that are packed
  Memory right_;
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_PACKED_PRODUCTS_H_
