// Products of a matrix and a vector, or of two vectors, which take as long as reading
// the matrix does: it is read where it lies, transposed or a slice of another as it may
// be, by all cores. Each sum is taken in one order, however many cores there are.

#ifndef NKIPY_EMULATOR_MATVEC_H_
#define NKIPY_EMULATOR_MATVEC_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <functional>
#include <new>
#include <thread>
#include <vector>

#include "../libnrt/copy_pieces.h"
#include "element_calls.h"
#include "operands.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

constexpr size_t kSumLanes = 32;       // sums side by side, which fill vector registers
constexpr size_t kSumBlock = 1 << 10;  // elements that are added in such lanes
constexpr size_t kSumPiece = 1 << 13;  // elements of one vector that one core adds
constexpr size_t kColumns = 2048;      // results of a piece where columns are in memory
constexpr size_t kAloneBelow = 1 << 18;  // elements that one core multiplies

// Elements of a matrix and a vector: results m, terms n.
template <typename T>
struct Product {
  const T* matrix;
  size_t m, n, row, column;  // steps from result to result, and from term to term
  const T* vector;
  T* result;
  // 1, or 0 if the vector has one element for all terms, repeated for a block of them.
  size_t vector_step = 1;

  const T* from(size_t term) const { return vector + term * vector_step; }
};

template <typename T>
T sum_products(const T* a, const T* b, size_t n) {
  T lanes[kSumLanes] = {};
  size_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (size_t k = 0; k < kSumLanes; ++k) lanes[k] += a[i + k] * b[i + k];
  }
  for (size_t k = 0; i < n; ++i, ++k) lanes[k] += a[i] * b[i];
  for (size_t width = kSumLanes / 2; width > 0; width /= 2) {
    for (size_t k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  }
  return lanes[0];
}

// The sum of `part(i)` from `begin` to `end`, in pairs of pairs, as NumPy adds: errors
// grow with the logarithm of how many there are.
template <typename T, typename Part>
T sum_in_pairs(size_t begin, size_t end, const Part& part) {
  if (end - begin == 1) return part(begin);
  const size_t middle = begin + (end - begin + 1) / 2;
  return sum_in_pairs<T>(begin, middle, part) + sum_in_pairs<T>(middle, end, part);
}

// The product of `count` terms of the vector, from `begin` on, and as many beside `a`.
template <typename T>
T sum_in_blocks(const Product<T>& p, const T* a, size_t begin, size_t count) {
  return sum_in_pairs<T>(0, (count + kSumBlock - 1) / kSumBlock, [&](size_t block) {
    const size_t i = block * kSumBlock;
    return sum_products(a + i, p.from(begin + i), std::min(kSumBlock, count - i));
  });
}

// Results of columns `begin` to `end`, each of which lies beside the next.
template <typename T>
void add_rows(const Product<T>& p, size_t begin, size_t end) {
  const size_t width = end - begin;
  T* result = p.result + begin;
  std::fill(result, result + width, T{0});
  size_t i = 0;
  for (; i + 4 <= p.n; i += 4) {  // results are loaded and stored once for four rows
    const T* a = p.matrix + i * p.column + begin;
    const T *b = a + p.column, *c = b + p.column, *d = c + p.column;
    const T* x = p.from(i);
    for (size_t k = 0; k < width; ++k) {
      result[k] += (a[k] * x[0] + b[k] * x[1]) + (c[k] * x[2] + d[k] * x[3]);
    }
  }
  for (; i < p.n; ++i) {
    const T* a = p.matrix + i * p.column + begin;
    for (size_t k = 0; k < width; ++k) result[k] += a[k] * *p.from(i);
  }
}

inline void divide_work(size_t elements, size_t pieces,
                        const std::function<void(size_t)>& piece) {
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  const size_t helpers = elements < kAloneBelow ? 0 : std::min(cores, pieces) - 1;
  emulator::run_pieces(pieces, helpers, piece);
}

template <typename T>
void multiply(const Product<T>& p) {
  const size_t elements = p.m * p.n;
  if (p.m == 1) {
    const size_t pieces = (p.n + kSumPiece - 1) / kSumPiece;
    std::vector<T> sums(pieces);
    divide_work(elements, pieces, [&](size_t i) {
      const size_t begin = i * kSumPiece;
      const size_t count = std::min(kSumPiece, p.n - begin);
      sums[i] = sum_in_blocks(p, p.matrix + begin, begin, count);
    });
    p.result[0] = sum_in_pairs<T>(0, pieces, [&](size_t i) { return sums[i]; });
  } else if (p.column == 1) {
    const size_t rows = std::max<size_t>(1, kAloneBelow / 2 / p.n);
    divide_work(elements, (p.m + rows - 1) / rows, [&](size_t piece) {
      for (size_t i = piece * rows; i < std::min(p.m, (piece + 1) * rows); ++i) {
        p.result[i] = sum_in_blocks(p, p.matrix + i * p.row, 0, p.n);
      }
    });
  } else {
    divide_work(elements, (p.m + kColumns - 1) / kColumns, [&](size_t piece) {
      add_rows(p, piece * kColumns, std::min(p.m, (piece + 1) * kColumns));
    });
  }
}

// An operand's element at `offset`; null if it, or the last one from there, is none.
inline const char* element_of(const Operand& operand, int64_t offset, size_t last) {
  const auto start = static_cast<size_t>(offset);
  if (offset < 0 || start >= operand.count || last >= operand.count - start) {
    return nullptr;
  }
  return operand.data + start * operand.itemsize();
}

template <typename T>
bool multiply_at(const char* matrix, const char* vector, const int64_t* sizes,
                 size_t step, void* result) {
  const auto size = [sizes](int i) { return static_cast<size_t>(sizes[i]); };
  Product<T> p{reinterpret_cast<const T*>(matrix),
               size(0),
               size(1),
               size(2),
               size(3),
               reinterpret_cast<const T*>(vector),
               static_cast<T*>(result)};
  try {
    std::vector<T> gathered;
    if (step != 1) {
      const size_t count = step == 0 ? std::min(p.n, kSumBlock) : p.n;
      gathered.reserve(count);
      for (size_t i = 0; i < count; ++i) gathered.push_back(p.vector[i * step]);
      p.vector = gathered.data();
      p.vector_step = step == 0 ? 0 : 1;
    }
    multiply(p);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

// matrix, vector -> their product. `layout` has, in elements: where the matrix begins
// in its operand, how many results and terms there are, and the steps from one to the
// next; where the vector begins in its, and its step.
inline ffi::Error matvec(ffi::Span<const int64_t> words,
                         ffi::Span<const int64_t> layout, ffi::RemainingArgs args,
                         ffi::Result<ffi::AnyBuffer> result) {
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [matrix, vector] = operands;
  const ffi::Error wrong = wrong_call("matvec: a wrong layout");
  if (layout.size() != 7) return wrong;
  const int64_t *sizes = layout.begin() + 1, *steps = sizes + 2;
  const int64_t step = layout[6];
  if (sizes[0] < 1 || sizes[1] < 1) return wrong;
  if (steps[0] < 0 || steps[1] < 0 || step < 0) return wrong;
  if (steps[1] != 1 && (sizes[0] == 1 || steps[0] != 1)) return wrong;
  if (vector.type != matrix.type || result->element_type() != matrix.type) return wrong;
  if (result->element_count() != static_cast<size_t>(sizes[0])) return wrong;
  const int64_t last = (sizes[0] - 1) * steps[0] + (sizes[1] - 1) * steps[1];
  const char* a = element_of(matrix, layout[0], static_cast<size_t>(last));
  const char* x =
      element_of(vector, layout[5], static_cast<size_t>((sizes[1] - 1) * step));
  if (a == nullptr || x == nullptr) return wrong;
  const auto across = static_cast<size_t>(step);
  bool done = false;
  if (matrix.type == ffi::DataType::F32) {
    done = multiply_at<float>(a, x, sizes, across, result->untyped_data());
  } else if (matrix.type == ffi::DataType::F64) {
    done = multiply_at<double>(a, x, sizes, across, result->untyped_data());
  } else {
    return wrong;
  }
  return done ? ffi::Error::Success() : no_memory();
}

XLA_FFI_DEFINE_HANDLER(kMatvec, matvec,
                       ffi::Ffi::Bind()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("layout")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MATVEC_H_
