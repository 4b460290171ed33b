// Operands and results of products of matrices and of vectors.

#ifndef NKIPY_EMULATOR_PRODUCT_OPERANDS_H_
#define NKIPY_EMULATOR_PRODUCT_OPERANDS_H_

#include <stddef.h>

#include "numpy_kernels.h"
#include "operands.h"

namespace nkipy {

inline size_t parts(size_t n, size_t size) { return (n + size - 1) / size; }

// Where an operand's elements lie: steps in bytes, to the next product, to the next row
// (of a right operand: column) and to the next term.
struct ProductOperand {
  char* first;
  size_t batch, free, term;

  ProductOperand at(size_t product, size_t row, size_t from) const {
    return {first + product * batch + row * free + from * term, batch, free, term};
  }
};

// Results m by n, of k terms each, which lie beside each other row by row.
struct Products {
  const ElementFunction& matmul;
  size_t itemsize, batch, m, n, k;
  ProductOperand left, right;
  char* results;

  // So many products, from where their first operands lie on. Rows of their results are
  // `step` bytes apart.
  void multiply(size_t count, const ProductOperand& x, const ProductOperand& y,
                size_t rows, size_t columns, size_t terms, char* to,
                size_t step) const {
    const auto size = [](size_t n) { return static_cast<Py_ssize_t>(n); };
    char* arrays[] = {x.first, y.first, to};
    const Py_ssize_t sizes[] = {size(count), size(rows), size(terms), size(columns)};
    const Py_ssize_t steps[] = {size(x.batch), size(y.batch), size(m * n * itemsize),
                                size(x.free),  size(x.term),  size(y.term),
                                size(y.free),  size(step),    size(itemsize)};
    matmul.loop(arrays, sizes, steps, matmul.data);
  }
  // Whether a matrix is multiplied by its own transpose: results are symmetric.
  bool is_square_of_one() const {
    return m == n && left.first == right.first && left.batch == right.batch &&
           left.free == right.free && left.term == right.term;
  }
  char* result(size_t product, size_t row, size_t column) const {
    return results + ((product * m + row) * n + column) * itemsize;
  }
};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_PRODUCT_OPERANDS_H_
