// Sums of products by the widest vectors that the CPU has, whatever the library was
// compiled for.

#ifndef NKIPY_EMULATOR_VECTOR_KERNELS_H_
#define NKIPY_EMULATOR_VECTOR_KERNELS_H_

#include <stddef.h>

namespace nkipy {

// Results that `multiply_block` computes at once, at most.
constexpr size_t kMostBlockResults = 12 * 32;

template <typename T>
struct VectorKernels {
  // Of the results that `multiply_block` computes at once; 0 where it is null, as the
  // CPU's vectors are no faster at it than its BLAS.
  size_t rows, columns;

  // Sums of `terms` products each. Of a term, `left` has the elements of all rows side
  // by side, and `right` those of all columns. Rows of results are `step` elements
  // apart; it `adds` to what is there.
  void (*multiply_block)(const T* left, const T* right, size_t terms, T* to,
                         size_t step, bool adds);

  // Products of rows, which are `step` elements apart, and a vector.
  void (*multiply_rows)(const T* rows, size_t step, size_t count, const T* vector,
                        size_t terms, T* to);
};

// For float and double. Null if the CPU has no vectors that there are kernels for.
template <typename T>
const VectorKernels<T>* vector_kernels();

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_VECTOR_KERNELS_H_
