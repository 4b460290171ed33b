// The custom call of products of matrices and of vectors. Large ones are computed by
// the kernels of vectors that the CPU has (packed_products.h). Narrow ones, and all
// where it has none, are put together of small ones by NumPy's loop: that calls a BLAS,
// which reads operands where they lie.
//
// Each is so small that OpenBLAS leaves it to the thread that calls it. Its own threads
// wait actively for each other: on busy cores a product takes tens of times as long.
// Each sum is taken in one order, however many threads there are.

#ifndef NKIPY_EMULATOR_PRODUCTS_H_
#define NKIPY_EMULATOR_PRODUCTS_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <new>
#include <string_view>

#include "element_calls.h"
#include "handled_call.h"
#include "numpy_environment.h"
#include "numpy_kernels.h"
#include "operands.h"
#include "packed_products.h"
#include "product_operands.h"
#include "sums.h"
#include "vector_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Multiplications that OpenBLAS leaves to one thread, of matrices, and of a matrix and
// a vector or of two vectors.
constexpr size_t kWorkOfMatrices = size_t{1} << 18, kWorkOfVectors = 9215;
constexpr size_t kShortTerms = 256, kTerms = 1024;  // of matrices, and of vectors
constexpr size_t kBlockSide = 32;                   // rows and columns
constexpr size_t kBlockResults = 1024;              // that lie across the terms
constexpr size_t kVectorTerms = size_t{1} << 13;    // of two vectors
// Of a piece of work: rows and columns, and multiplications where they are few.
constexpr size_t kPieceSide = 128, kLeastPieceWork = size_t{1} << 16;

// How a product is divided: into blocks, which a BLAS multiplies, and pieces of work.
struct Division {
  size_t rows, columns, terms;
  size_t piece_rows, piece_columns;
  bool packs;  // Whether columns are copied to where they lie side by side.
};

inline Division divide_matrices(const Products& p, size_t threads) {
  // Where there are few of the others, more go together.
  const auto block = [](size_t others) {
    return std::min(kBlockSide * std::max<size_t>(kBlockSide / others, 1), kPieceSide);
  };
  const size_t rows = block(p.n), columns = block(p.m);
  size_t side = kPieceSide;
  const auto pieces = [&] { return p.batch * parts(p.m, side) * parts(p.n, side); };
  while (side / 2 >= std::max(rows, columns) && pieces() < 4 * threads) side /= 2;
  const bool can_pack = p.right.free == p.itemsize || p.right.term == p.itemsize;
  return {rows, columns, kShortTerms, side, side, can_pack && p.m > 2 * kBlockSide};
}

inline Division divide_vectors(const Products& p) {
  const bool is_left = p.n == 1;  // which is the matrix then
  const size_t results = is_left ? p.m : p.n;
  const bool is_across = (is_left ? p.left : p.right).term != p.itemsize;
  size_t block = std::min(results, kBlockResults);
  size_t terms = std::min(p.k, std::max<size_t>(kWorkOfVectors / block, 1));
  if (!is_across) {
    terms = std::min(p.k, kTerms);
    block = kWorkOfVectors / terms / 4 * 4;  // a BLAS takes several rows at once
  }
  const size_t piece = std::max<size_t>(kLeastPieceWork / p.k / block, 1) * block;
  if (is_left) return {block, 1, terms, piece, 1, false};
  return {1, block, terms, 1, piece, false};
}

// Copies columns by terms to where they lie side by side, in the same order.
inline ProductOperand packed(const ProductOperand& y, size_t columns, size_t terms,
                             size_t itemsize, char* to) {
  const bool by_columns = y.free == itemsize;
  const size_t runs = by_columns ? terms : columns, step = by_columns ? y.term : y.free;
  const size_t run = (by_columns ? columns : terms) * itemsize;
  for (size_t i = 0; i < runs; ++i) memcpy(to + i * run, y.first + i * step, run);
  if (by_columns) return {to, 0, itemsize, run};
  return {to, 0, run, itemsize};
}

template <typename T>
void add_block(const T* from, size_t rows, size_t columns, T* to, size_t step) {
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) to[i * step + j] += from[i * columns + j];
  }
}

// Results of one of the products: of some of its rows and columns.
struct Piece {
  size_t product, row, end_row, column, end_column;
};

template <typename T>
void multiply_piece(const Products& p, const Division& by, const Piece& piece) {
  const size_t results = by.rows * by.columns;
  const Memory memory =
      allocate((results + (by.packs ? by.columns * by.terms : 0)) * sizeof(T));
  char* const sums = static_cast<char*>(memory.get());
  for (size_t k = 0; k < p.k; k += by.terms) {
    const size_t terms = std::min(by.terms, p.k - k);
    for (size_t j = piece.column; j < piece.end_column; j += by.columns) {
      const size_t columns = std::min(by.columns, piece.end_column - j);
      ProductOperand y = p.right.at(piece.product, j, k);
      if (by.packs)
        y = packed(y, columns, terms, sizeof(T), sums + results * sizeof(T));
      for (size_t i = piece.row; i < piece.end_row; i += by.rows) {
        const size_t rows = std::min(by.rows, piece.end_row - i);
        const ProductOperand x = p.left.at(piece.product, i, k);
        char* to = p.result(piece.product, i, j);
        if (k == 0) {
          p.multiply(1, x, y, rows, columns, terms, to, p.n * sizeof(T));
        } else {
          p.multiply(1, x, y, rows, columns, terms, sums, columns * sizeof(T));
          add_block(reinterpret_cast<const T*>(sums), rows, columns,
                    reinterpret_cast<T*>(to), p.n);
        }
      }
    }
  }
}

// Below the diagonal of a symmetric result is what is above it.
template <typename T>
void mirror(const Products& p, const Piece& piece) {
  T* results = reinterpret_cast<T*>(p.result(piece.product, 0, 0));
  for (size_t j = piece.column; j < piece.end_column; ++j) {
    const size_t end = std::min(piece.end_row, j);
    for (size_t i = piece.row; i < end; ++i)
      results[j * p.n + i] = results[i * p.n + j];
  }
}

template <typename T>
bool share_pieces(const Team& team, const Products& p, const Division& by) {
  const size_t down = parts(p.m, by.piece_rows), across = parts(p.n, by.piece_columns);
  const bool is_symmetric = p.is_square_of_one() && by.piece_rows == by.piece_columns;
  const auto multiply = [&](size_t number) {
    const size_t row = number / across % down * by.piece_rows;
    const size_t column = number % across * by.piece_columns;
    if (is_symmetric && column < row) return;
    const Piece piece{number / (down * across), row, std::min(row + by.piece_rows, p.m),
                      column, std::min(column + by.piece_columns, p.n)};
    multiply_piece<T>(p, by, piece);
    if (is_symmetric) mirror<T>(p, piece);
  };
  return share_work(team, p.batch * down * across, multiply, true);
}

// Products of two vectors each, of many terms.
template <typename T>
bool share_terms(const Team& team, const Products& p) {
  const NumpyEnvironment environment;  // the last sums are as those of pieces
  const size_t pieces = parts(p.k, kVectorTerms);
  const Memory memory = allocate(pieces * sizeof(T));
  T* const sums = static_cast<T*>(memory.get());
  for (size_t product = 0; product < p.batch; ++product) {
    const auto multiply = [&](size_t piece) {
      const size_t k = piece * kVectorTerms;
      p.multiply(1, p.left.at(product, 0, k), p.right.at(product, 0, k), 1, 1,
                 std::min(kVectorTerms, p.k - k), reinterpret_cast<char*>(sums + piece),
                 sizeof(T));
    };
    if (!share_work(team, pieces, multiply, true)) return false;
    *reinterpret_cast<T*>(p.result(product, 0, 0)) =
        sum_in_pairs<T>(0, pieces, [sums](size_t i) { return sums[i]; });
  }
  return true;
}

// Products of a matrix and a vector, of which rows have their elements side by side.
template <typename T>
bool share_rows(const Team& team, const Products& p, const VectorKernels<T>& kernels) {
  const bool is_left = p.n == 1;  // which is the matrix then
  const ProductOperand &matrix = is_left ? p.left : p.right,
                       &vector = is_left ? p.right : p.left;
  const size_t rows = is_left ? p.m : p.n;
  const size_t length = parts(std::max<size_t>(kLeastPieceWork / p.k, 1), 4) * 4;
  const size_t pieces = parts(rows, length);
  const auto multiply = [&](size_t number) {
    const size_t product = number / pieces, row = number % pieces * length;
    const auto first = [product](const ProductOperand& x, size_t free) {
      return reinterpret_cast<const T*>(x.at(product, free, 0).first);
    };
    kernels.multiply_rows(first(matrix, row), matrix.free / sizeof(T),
                          std::min(length, rows - row), first(vector, 0), p.k,
                          reinterpret_cast<T*>(p.result(product, 0, 0)) + row);
  };
  return share_work(team, p.batch * pieces, multiply, true);
}

// Whether both a matrix's rows and a vector have their elements side by side.
inline bool are_of_rows(const Products& p) {
  return p.left.term == p.itemsize && p.right.term == p.itemsize;
}

template <typename T>
bool share_products(const Team& team, const Products& p) {
  const VectorKernels<T>* const kernels = vector_kernels<T>();
  const bool is_of_vector = std::min(p.m, p.n) == 1;
  const size_t work = p.m * p.n * p.k;
  if (work <= (is_of_vector ? kWorkOfVectors : kWorkOfMatrices)) {
    const size_t length = std::max<size_t>(kLeastPieceWork / work, 1);
    const auto multiply = [&](size_t piece) {
      const size_t begin = piece * length;
      p.multiply(std::min(length, p.batch - begin), p.left.at(begin, 0, 0),
                 p.right.at(begin, 0, 0), p.m, p.n, p.k, p.result(begin, 0, 0),
                 p.n * sizeof(T));
    };
    return share_work(team, parts(p.batch, length), multiply, true);
  }
  if (std::max(p.m, p.n) == 1) return share_terms<T>(team, p);
  if (kernels != nullptr) {
    if (is_of_vector && are_of_rows(p)) return share_rows(team, p, *kernels);
    if (kernels->multiply_block != nullptr && are_for_packing(p)) {
      return PackedProducts<T>(team, p, *kernels).share();
    }
  }
  return share_pieces<T>(
      team, p, is_of_vector ? divide_vectors(p) : divide_matrices(p, team.threads()));
}

// Where an operand of these sizes lies that begins, and has steps, as `place` says.
inline bool place_operand(const Operand& operand, const int64_t* place,
                          const int64_t* sizes, ProductOperand* found) {
  size_t last;
  if (!last_of(place + 1, sizes, 3, &last)) return false;
  const auto step = [&](int i) {
    return static_cast<size_t>(place[i]) * operand.itemsize();
  };
  char* first = const_cast<char*>(element_of(operand, place[0], last));
  *found = {first, step(1), step(2), step(3)};
  return found->first != nullptr;
}

// left, right -> their products, by the loop `function` of NumPy's matmul. `layout` has
// how many there are, and the rows, columns and terms of each; then for each operand,
// in elements, where it begins, and the steps to the next product, to the next row or
// column, and to the next term.
inline ffi::Error products_call(ffi::ThreadPool pool, ffi::Span<const int64_t> words,
                                std::string_view function,
                                ffi::Span<const int64_t> layout,
                                ffi::RemainingArgs args,
                                ffi::Result<ffi::AnyBuffer> result) {
  const ElementFunction* matmul = find_function(function.data(), function.size());
  if (matmul == nullptr) return unknown_function();
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [x, y] = operands;
  const ffi::Error wrong = wrong_call("products: a wrong layout");
  if (layout.size() != 12) return wrong;
  if (x.type != y.type || result->element_type() != x.type) return wrong;
  if (x.type != ffi::DataType::F32 && x.type != ffi::DataType::F64) return wrong;
  if (!matmul->is_of(2, {x.type, y.type}, x.type, kOfMatrices))
    return unknown_function();
  const int64_t* sizes = layout.begin();
  const int64_t left_sizes[] = {sizes[0], sizes[1], sizes[3]};
  const int64_t right_sizes[] = {sizes[0], sizes[2], sizes[3]};
  ProductOperand left, right;
  if (!place_operand(x, sizes + 4, left_sizes, &left) ||
      !place_operand(y, sizes + 8, right_sizes, &right)) {
    return wrong;
  }
  int64_t count, work;
  if (__builtin_mul_overflow(sizes[1], sizes[2], &count) ||
      __builtin_mul_overflow(count, sizes[3], &work) ||
      __builtin_mul_overflow(count, sizes[0], &count) ||
      result->element_count() != static_cast<size_t>(count)) {
    return wrong;
  }
  const auto size = [&](size_t i) { return static_cast<size_t>(layout[i]); };
  const Products products{
      *matmul, x.itemsize(), size(0),
      size(1), size(2),      size(3),
      left,    right,        static_cast<char*>(result->untyped_data())};
  const Team team(pool, args, words);
  try {
    return team.outcome(x.type == ffi::DataType::F32
                            ? share_products<float>(team, products)
                            : share_products<double>(team, products));
  } catch (const std::bad_alloc&) {
    return team.outcome(false);
  }
}

XLA_FFI_DEFINE_HANDLER(kProductsCall, products_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<std::string_view>("function")
                           .Attr<ffi::Span<const int64_t>>("layout")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_PRODUCTS_H_
