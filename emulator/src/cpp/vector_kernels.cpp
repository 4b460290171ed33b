#include "vector_kernels.h"

#include <string.h>

namespace nkipy {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)

template <typename T, size_t kBytes>
struct VectorOf {
  using Type __attribute__((vector_size(kBytes))) = T;
};

template <typename V, typename T>
[[gnu::always_inline]] inline void load(const T* from, V* to) {
  memcpy(to, from, sizeof(V));
}

template <typename V, typename T>
[[gnu::always_inline]] inline void store(const V& x, T* to, bool adds) {
  V sum = x;
  if (adds) {
    V before;
    load(to, &before);
    sum += before;
  }
  memcpy(to, &sum, sizeof(V));
}

template <typename T, size_t kBytes, size_t kRows>
[[gnu::always_inline]] inline void block_of(const T* left, const T* right, size_t terms,
                                            T* to, size_t step, bool adds) {
  using V = typename VectorOf<T, kBytes>::Type;
  constexpr size_t kLanes = kBytes / sizeof(T);
  V first[kRows] = {}, second[kRows] = {};
  for (size_t k = 0; k < terms; ++k, left += kRows, right += 2 * kLanes) {
    V x, y;
    load(right, &x);
    load(right + kLanes, &y);
#pragma GCC unroll 16
    for (size_t i = 0; i < kRows; ++i) {
      first[i] += x * left[i];
      second[i] += y * left[i];
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i) {
    store(first[i], to + i * step, adds);
    store(second[i], to + i * step + kLanes, adds);
  }
}

// `kRows` rows, which go together so that the vector is read once for all of them.
template <size_t kRows, typename T, size_t kBytes>
[[gnu::always_inline]] inline void rows_of(const T* rows, size_t step, const T* vector,
                                           size_t terms, T* to) {
  using V = typename VectorOf<T, kBytes>::Type;
  constexpr size_t kLanes = kBytes / sizeof(T);
  V first[kRows] = {}, second[kRows] = {};
  size_t k = 0;
  for (; k + 2 * kLanes <= terms; k += 2 * kLanes) {
    V x, y;
    load(vector + k, &x);
    load(vector + k + kLanes, &y);
#pragma GCC unroll 4
    for (size_t i = 0; i < kRows; ++i) {
      V p, q;
      load(rows + i * step + k, &p);
      load(rows + i * step + k + kLanes, &q);
      first[i] += p * x;
      second[i] += q * y;
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    const V both = first[i] + second[i];
    T sum = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) sum += both[lane];
    for (size_t j = k; j < terms; ++j) sum += rows[i * step + j] * vector[j];
    to[i] = sum;
  }
}

template <typename T, size_t kBytes>
[[gnu::always_inline]] inline void all_rows_of(const T* rows, size_t step, size_t count,
                                               const T* vector, size_t terms, T* to) {
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    rows_of<4, T, kBytes>(rows + i * step, step, vector, terms, to + i);
  }
  for (; i < count; ++i) {
    rows_of<1, T, kBytes>(rows + i * step, step, vector, terms, to + i);
  }
}

// As many rows as leave registers for the columns and an element of the rows.
constexpr size_t kRowsOfAvx512 = 12;

template <typename T>
[[gnu::target("avx512f")]] void block_by_avx512(const T* left, const T* right,
                                                size_t terms, T* to, size_t step,
                                                bool adds) {
  block_of<T, 64, kRowsOfAvx512>(left, right, terms, to, step, adds);
}

// Memory is no faster for wider vectors.
template <typename T>
[[gnu::target("avx2,fma")]] void rows_by_avx2(const T* rows, size_t step, size_t count,
                                              const T* vector, size_t terms, T* to) {
  all_rows_of<T, 32>(rows, step, count, vector, terms, to);
}

template <typename T>
const VectorKernels<T>* find_kernels() {
  static constexpr VectorKernels<T> kAvx2 = {0, 0, nullptr, &rows_by_avx2<T>};
  static constexpr VectorKernels<T> kAvx512 = {kRowsOfAvx512, 128 / sizeof(T),
                                               &block_by_avx512<T>, &rows_by_avx2<T>};
  static_assert(kAvx512.rows * kAvx512.columns <= kMostBlockResults, "room for them");
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return nullptr;
  return __builtin_cpu_supports("avx512f") ? &kAvx512 : &kAvx2;
}

#else

template <typename T>
const VectorKernels<T>* find_kernels() {
  return nullptr;
}

#endif

}  // namespace

template <typename T>
const VectorKernels<T>* vector_kernels() {
  static const VectorKernels<T>* const found = find_kernels<T>();
  return found;
}

template const VectorKernels<float>* vector_kernels<float>();
template const VectorKernels<double>* vector_kernels<double>();

}  // namespace nkipy
