// Tiles of a product of matrices: sums of terms that are kept in vector registers.
//
// Why not a library: what NumPy calls has threads of its own, which wait actively for
// each other, so that a product takes tens of times as long where cores are busy; it
// adds in another order with another number of threads; and it takes matrices only
// whose elements lie beside each other in rows or in columns.

#ifndef NKIPY_EMULATOR_MATRIX_TILES_H_
#define NKIPY_EMULATOR_MATRIX_TILES_H_

#include <stddef.h>
#include <string.h>

#include <algorithm>

namespace nkipy {

// Terms that are added in registers, before what they sum up to goes to memory.
constexpr size_t kTerms = 256;

// Adds `terms` products of rows of `left` and columns of `right` to a tile of
// results, or begins it with them. `left` has the rows of one term beside each other,
// then those of the next, and `right` the columns.
template <typename T>
using RunTile = void (*)(const T* left, const T* right, size_t terms, T* result,
                         size_t row_step, bool adds);

template <typename T>
struct TileKernel {
  size_t rows, columns;
  RunTile<T> run;
};

template <typename T, size_t kBytes>
struct Vector {
  typedef T Type __attribute__((vector_size(kBytes), aligned(sizeof(T))));
};

template <typename T, size_t kBytes, size_t kRows, size_t kVectors>
__attribute__((always_inline)) inline void add_tile(const T* left, const T* right,
                                                    size_t terms, T* result,
                                                    size_t row_step, bool adds) {
  using V = typename Vector<T, kBytes>::Type;
  constexpr size_t kWidth = kBytes / sizeof(T);
  V sums[kRows][kVectors] = {};
  for (size_t i = 0; i < kRows; ++i) {  // to be here when the sums are
    __builtin_prefetch(result + i * row_step, 1);
    __builtin_prefetch(result + i * row_step + kWidth * kVectors - 1, 1);
  }
  for (size_t k = 0; k < terms; ++k, left += kRows, right += kWidth * kVectors) {
    V y[kVectors];
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) {
      y[j] = *reinterpret_cast<const V*>(right + j * kWidth);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (size_t j = 0; j < kVectors; ++j) sums[i][j] += left[i] * y[j];
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kVectors; ++j) {
      V* to = reinterpret_cast<V*>(result + i * row_step + j * kWidth);
      *to = adds ? *to + sums[i][j] : sums[i][j];
    }
  }
}

#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx512f,fma"))) void add_tile_avx512(const T* left,
                                                            const T* right,
                                                            size_t terms, T* result,
                                                            size_t row_step,
                                                            bool adds) {
  add_tile<T, 64, 8, 2>(left, right, terms, result, row_step, adds);
}

template <typename T>
__attribute__((target("avx2,fma"))) void add_tile_avx2(const T* left, const T* right,
                                                       size_t terms, T* result,
                                                       size_t row_step, bool adds) {
  add_tile<T, 32, 6, 2>(left, right, terms, result, row_step, adds);
}
#endif

constexpr size_t kMostTileRows = 8, kMostTileBytes = 128;  // of a row

template <typename T>
TileKernel<T> tile_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return {8, 128 / sizeof(T), add_tile_avx512<T>};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {6, 64 / sizeof(T), add_tile_avx2<T>};
  }
#endif
#if defined(__aarch64__)
  return {8, 32 / sizeof(T), add_tile<T, 16, 8, 2>};
#else
  return {4, 32 / sizeof(T), add_tile<T, 16, 4, 2>};
#endif
}

// A matrix in memory: `row` and `term` are the steps from one to the next, in elements.
// Of a right operand, columns are what rows are of a left one.
template <typename T>
struct Strided {
  const T* first;
  size_t row, term;
};

// Four rows of four terms, each beside the next, as terms that are `tile` apart.
template <typename T>
void turn_block(const T* from, size_t row, T* to, size_t tile) {
#if defined(__clang__) || __GNUC__ >= 12
  using V = typename Vector<T, 4 * sizeof(T)>::Type;
  const V a = *reinterpret_cast<const V*>(from);
  const V b = *reinterpret_cast<const V*>(from + row);
  const V c = *reinterpret_cast<const V*>(from + 2 * row);
  const V d = *reinterpret_cast<const V*>(from + 3 * row);
  const V ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const V cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const V ba = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const V dc = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<V*>(to) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *reinterpret_cast<V*>(to + tile) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *reinterpret_cast<V*>(to + 2 * tile) = __builtin_shufflevector(ba, dc, 0, 1, 4, 5);
  *reinterpret_cast<V*>(to + 3 * tile) = __builtin_shufflevector(ba, dc, 2, 3, 6, 7);
#else
  for (size_t i = 0; i < 4; ++i) {
    for (size_t k = 0; k < 4; ++k) to[k * tile + i] = from[i * row + k];
  }
#endif
}

// Packs `rows` of a tile. As many terms of a row are read as a cache line has, then
// those of the next: rows may lie where they would drive each other from the cache.
template <typename T>
void pack_rows(const Strided<T>& from, size_t rows, size_t terms, size_t tile, T* to) {
  constexpr size_t kRun = 64 / sizeof(T);
  const size_t whole = from.term == 1 ? rows / 4 * 4 : 0;
  for (size_t k = 0; k < terms; k += kRun) {
    const size_t count = std::min(kRun, terms - k);
    const T* x = from.first + k * from.term;
    T* y = to + k * tile;
    size_t i = 0;
    for (; count == kRun && i < whole; i += 4) {
      for (size_t c = 0; c < kRun; c += 4) {
        turn_block(x + i * from.row + c, from.row, y + c * tile + i, tile);
      }
    }
    for (; i < rows; ++i) {
      for (size_t c = 0; c < count; ++c) {
        y[c * tile + i] = x[i * from.row + c * from.term];
      }
    }
  }
}

// Packs rows of an operand, `tile` of them at a time: those of the first term, those of
// the next, then the next tile. What a last tile has too many is zero.
template <typename T>
void pack_tiles(const Strided<T>& from, size_t rows, size_t terms, size_t tile, T* to) {
  for (size_t row = 0; row < rows; row += tile, to += tile * terms) {
    const size_t count = std::min(tile, rows - row);
    const Strided<T> part{from.first + row * from.row, from.row, from.term};
    if (count < tile) std::fill(to, to + tile * terms, T{0});
    if (from.row != 1 || count < tile) {
      pack_rows(part, count, terms, tile, to);
      continue;
    }
    for (size_t k = 0; k < terms; ++k) {
      const T* x = part.first + k * part.term;
      for (size_t i = 0; i < tile; ++i) to[k * tile + i] = x[i];
    }
  }
}

// A tile at the edge of the results, of so many of its rows and columns.
template <typename T>
void add_part_of_tile(const TileKernel<T>& kernel, const T* left, const T* right,
                      size_t terms, size_t rows, size_t columns, T* result,
                      size_t row_step, bool adds) {
  T whole[kMostTileRows * kMostTileBytes / sizeof(T)];
  kernel.run(left, right, terms, whole, kernel.columns, false);
  for (size_t i = 0; i < rows; ++i) {
    T* to = result + i * row_step;
    const T* sums = whole + i * kernel.columns;
    for (size_t j = 0; j < columns; ++j) to[j] = adds ? to[j] + sums[j] : sums[j];
  }
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MATRIX_TILES_H_
