// The custom call of products of matrices, whose operands are read where they lie:
// transposes and slices of others, or any whose elements have even steps.
//
// Both operands are packed into tiles, by all threads, and then multiplied, a tile of
// results at a time. Each sum is taken in one order, however many threads there are.

#ifndef NKIPY_EMULATOR_MATRIX_PRODUCTS_H_
#define NKIPY_EMULATOR_MATRIX_PRODUCTS_H_

#include <atomic>
#include <new>
#include <thread>
#include <utility>

#include "element_calls.h"
#include "matrix_tiles.h"
#include "matvec.h"
#include "operands.h"
#include "work_sharing.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

// Results m by n, of k terms each, which lie beside each other row by row.
template <typename T>
struct MatrixProduct {
  size_t m, n, k;
  Strided<T> left, right;
  T* result;
  // Whether the right operand is the left one transposed: results are symmetric.
  bool is_symmetric;
};

constexpr size_t kPackedBytes = size_t{1} << 21;  // of an operand, at a time
constexpr size_t kBlockRows = 128;                // of results, to a piece of work
constexpr size_t kLeastBlockRows = 32;
constexpr size_t kPiecesPerThread = 8;
constexpr size_t kPackedPiece = size_t{1} << 14;  // elements

inline size_t rounded_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
inline size_t parts(size_t n, size_t size) { return (n + size - 1) / size; }

// Memory for packed operands, at a multiple of a cache line. What the last product was
// packed into is kept for the next: the system takes as long to make it as packing
// does.
class Packed {
 public:
  explicit Packed(size_t nbytes) : memory_(spare().exchange(nullptr)) {
    if (memory_ != nullptr && memory_->nbytes >= nbytes) return;
    drop(std::exchange(memory_, nullptr));
    memory_ = static_cast<Header*>(operator new(sizeof(Header) + nbytes, kLine));
    memory_->nbytes = nbytes;
  }
  ~Packed() { drop(spare().exchange(memory_)); }
  Packed(const Packed&) = delete;

  template <typename T>
  T* get() const {
    return reinterpret_cast<T*>(memory_ + 1);
  }

 private:
  static constexpr std::align_val_t kLine{64};
  struct alignas(64) Header {
    size_t nbytes;
  };

  static std::atomic<Header*>& spare() {
    static std::atomic<Header*> memory{nullptr};
    return memory;
  }
  static void drop(Header* memory) { operator delete(memory, kLine); }

  Header* memory_;
};

// A part of a product whose operands fit into packed memory, and how it is divided.
template <typename T>
class Block {
 public:
  Block(const MatrixProduct<T>& product, const TileKernel<T>& kernel, T* left, T* right)
      : p_(product), kernel_(kernel), left_(left), right_(right) {}

  // Results of rows from `row`, columns from `column`, and terms from `term` on.
  void place(size_t row, size_t rows, size_t column, size_t columns, size_t term,
             size_t terms, size_t threads) {
    row_ = row, rows_ = rows, column_ = column, columns_ = columns;
    term_ = term, terms_ = terms;
    const auto chunk = [&](size_t tile) {
      return std::max<size_t>(kPackedPiece / (tile * terms), 1) * tile;
    };
    left_chunk_ = chunk(kernel_.rows), right_chunk_ = chunk(kernel_.columns);
    divide(threads);
    left_packs_ = parts(rows_, left_chunk_);
    packs_ = left_packs_ + parts(columns_, right_chunk_);
    packed_ = 0;
  }

  size_t pieces() const {
    return packs_ + parts(rows_, block_rows_) * parts(columns_, block_columns_);
  }

  // Pieces are taken in order: those before `packs_`, which wait for none, are under
  // way or done when one that waits for them is begun.
  void run(size_t piece) {
    if (piece < packs_) {
      pack(piece);
      ++packed_;
      return;
    }
    while (packed_ != packs_) std::this_thread::yield();
    const size_t across = parts(columns_, block_columns_);
    multiply((piece - packs_) / across * block_rows_,
             (piece - packs_) % across * block_columns_);
  }

 private:
  void divide(size_t threads) {
    const size_t wanted = threads == 1 ? 1 : threads * kPiecesPerThread;
    block_rows_ = rounded_up(kBlockRows, kernel_.rows);
    block_columns_ = rounded_up(columns_, kernel_.columns);
    const auto found = [&] {
      return parts(rows_, block_rows_) * parts(columns_, block_columns_);
    };
    while (found() < wanted && block_columns_ > 2 * kernel_.columns) {
      block_columns_ = rounded_up(block_columns_ / 2, kernel_.columns);
    }
    while (found() < wanted && block_rows_ > kLeastBlockRows) {
      block_rows_ = rounded_up(block_rows_ / 2, kernel_.rows);
    }
  }

  // Packed are the first kTerms terms, for all rows or columns, then the next.
  void pack(size_t piece) const {
    const bool is_left = piece < left_packs_;
    const size_t chunk = is_left ? left_chunk_ : right_chunk_;
    const size_t begin = (is_left ? piece : piece - left_packs_) * chunk;
    const size_t count = std::min(chunk, (is_left ? rows_ : columns_) - begin);
    const size_t tile = is_left ? kernel_.rows : kernel_.columns;
    Strided<T> from = is_left ? p_.left : p_.right;
    from.first += ((is_left ? row_ : column_) + begin) * from.row + term_ * from.term;
    for (size_t k = 0; k < terms_; k += kTerms, from.first += kTerms * from.term) {
      const size_t terms = std::min(kTerms, terms_ - k);
      T* to = is_left ? left_at(begin, k, terms) : right_at(begin, k, terms);
      pack_tiles(from, count, terms, tile, to);
    }
  }

  // Where packed rows begin, and packed columns, of terms from `k` on.
  T* left_at(size_t i, size_t k, size_t terms) const {
    return left_ + k * rounded_up(rows_, kernel_.rows) + i * terms;
  }
  T* right_at(size_t j, size_t k, size_t terms) const {
    return right_ + k * rounded_up(columns_, kernel_.columns) + j * terms;
  }

  void multiply(size_t first_row, size_t first_column) const {
    const size_t end_row = std::min(first_row + block_rows_, rows_);
    const size_t end_column = std::min(first_column + block_columns_, columns_);
    for (size_t k = 0; k < terms_; k += kTerms) {
      const size_t terms = std::min(kTerms, terms_ - k);
      const bool adds = term_ + k != 0;
      for (size_t j = first_column; j < end_column; j += kernel_.columns) {
        const T* right = right_at(j, k, terms);
        for (size_t i = first_row; i < end_row; i += kernel_.rows) {
          if (is_below(i, j)) break;
          tile(left_at(i, k, terms), right, terms, i, j, adds);
        }
      }
    }
  }

  // Whether a tile, and those below it, are all below the diagonal of a symmetric
  // result.
  bool is_below(size_t i, size_t j) const {
    return p_.is_symmetric && row_ + i >= column_ + j + kernel_.columns;
  }

  void tile(const T* left, const T* right, size_t count, size_t i, size_t j,
            bool adds) const {
    T* to = p_.result + (row_ + i) * p_.n + column_ + j;
    const size_t rows = std::min(kernel_.rows, rows_ - i);
    const size_t columns = std::min(kernel_.columns, columns_ - j);
    if (rows == kernel_.rows && columns == kernel_.columns) {
      kernel_.run(left, right, count, to, p_.n, adds);
    } else {
      add_part_of_tile(kernel_, left, right, count, rows, columns, to, p_.n, adds);
    }
  }

  const MatrixProduct<T>& p_;
  const TileKernel<T>& kernel_;
  T *const left_, *const right_;
  size_t row_ = 0, rows_ = 0, column_ = 0, columns_ = 0, term_ = 0, terms_ = 0;
  size_t left_chunk_ = 0, right_chunk_ = 0, left_packs_ = 0, packs_ = 0;
  size_t block_rows_ = 0, block_columns_ = 0;
  std::atomic<size_t> packed_{0};
};

// What is below the diagonal is what is above it, as the sums are the same.
template <typename T>
void mirror(const MatrixProduct<T>& p, size_t begin, size_t end) {
  constexpr size_t kSide = 16;
  for (size_t j = 0; j < end; j += kSide) {
    for (size_t i = std::max(begin, j); i < end; ++i) {
      const size_t last = std::min(j + kSide, i);
      for (size_t c = j; c < last; ++c) p.result[i * p.n + c] = p.result[c * p.n + i];
    }
  }
}

// `share(pieces, function)` calls function(piece) for each; false without memory.
template <typename T, typename Share>
bool multiply_matrices(const MatrixProduct<T>& p, size_t threads, const Share& share) {
  const TileKernel<T> kernel = tile_kernel<T>();
  const size_t most = kPackedBytes / sizeof(T);
  const size_t widest = std::max({p.m, p.n, kLeastBlockRows});
  const size_t terms = std::min(p.k, std::max(most / widest / kTerms * kTerms, kTerms));
  const size_t side = std::max(most / terms / 256 * 256, size_t{256});
  const size_t rows = std::min(p.m, side), columns = std::min(p.n, side);
  const size_t line = 64 / sizeof(T);
  const size_t left = rounded_up(rounded_up(rows, kernel.rows) * terms, line);
  const size_t right = rounded_up(columns, kernel.columns) * terms;
  const Packed packed((left + right) * sizeof(T));
  T* const memory = packed.get<T>();
  Block<T> block(p, kernel, memory, memory + left);
  const auto run = [&block](size_t piece) { block.run(piece); };
  for (size_t i = 0; i < p.m; i += rows) {
    for (size_t j = 0; j < p.n; j += columns) {
      for (size_t k = 0; k < p.k; k += terms) {
        block.place(i, std::min(rows, p.m - i), j, std::min(columns, p.n - j), k,
                    std::min(terms, p.k - k), threads);
        if (!share(block.pieces(), run)) return false;
      }
    }
  }
  if (!p.is_symmetric) return true;
  constexpr size_t kRowsMirrored = 64;
  return share(parts(p.m, kRowsMirrored), [&p](size_t piece) {
    const size_t begin = piece * kRowsMirrored;
    mirror(p, begin, std::min(begin + kRowsMirrored, p.m));
  });
}

// As many products, each by one thread, or one after the other by all.
template <typename T>
bool share_products(ffi::ThreadPool& pool, const MatrixProduct<T>& first, size_t batch,
                    size_t left_step, size_t right_step) {
  const auto product = [&](size_t i) {
    MatrixProduct<T> p = first;
    p.left.first += i * left_step;
    p.right.first += i * right_step;
    p.result += i * p.m * p.n;
    return p;
  };
  const size_t threads = threads_of(pool);
  if (threads == 1 || batch >= 2 * threads) {
    const auto alone = [](size_t pieces, const auto& run) {
      for (size_t piece = 0; piece < pieces; ++piece) run(piece);
      return true;
    };
    return share_work(pool, batch,
                      [&](size_t i) { multiply_matrices(product(i), 1, alone); });
  }
  const auto share = [&pool](size_t pieces, const auto& run) {
    return share_work(pool, pieces, run);
  };
  for (size_t i = 0; i < batch; ++i) {
    if (!multiply_matrices(product(i), threads, share)) return false;
  }
  return true;
}

// The last element that an operand is read at; false if a number is out of all bounds.
inline bool last_of(const int64_t* steps, const int64_t* sizes, size_t* last) {
  constexpr int64_t kMost = int64_t{1} << 60;
  *last = 0;
  for (int i = 0; i < 3; ++i) {
    if (steps[i] < 0 || steps[i] > kMost || sizes[i] < 1 || sizes[i] > kMost) {
      return false;
    }
    int64_t part;
    if (__builtin_mul_overflow(steps[i], sizes[i] - 1, &part) || part > kMost) {
      return false;
    }
    *last += static_cast<size_t>(part);
  }
  return true;
}

template <typename T>
ffi::Error products_at(ffi::ThreadPool& pool, const char* left, const char* right,
                       ffi::Span<const int64_t> layout, void* result) {
  const auto number = [&](size_t i) { return static_cast<size_t>(layout[i]); };
  const Strided<T> x{reinterpret_cast<const T*>(left), number(6), number(7)};
  const Strided<T> y{reinterpret_cast<const T*>(right), number(10), number(11)};
  const size_t batch = number(0), m = number(1), n = number(2), k = number(3);
  const bool is_symmetric = m == n && left == right && x.row == y.row &&
                            x.term == y.term && (batch == 1 || number(5) == number(9));
  const MatrixProduct<T> first{m, n, k, x, y, static_cast<T*>(result), is_symmetric};
  try {
    if (share_products(pool, first, batch, number(5), number(9))) {
      return ffi::Error::Success();
    }
  } catch (const std::bad_alloc&) {
  }
  return no_memory();
}

// left, right -> their products. `layout` has how many there are, and the rows, columns
// and terms of each; then for each operand, in elements, where it begins, and the steps
// to the next product, to the next row or column, and to the next term.
inline ffi::Error matrix_products_call(ffi::ThreadPool pool,
                                       ffi::Span<const int64_t> words,
                                       ffi::Span<const int64_t> layout,
                                       ffi::RemainingArgs args,
                                       ffi::Result<ffi::AnyBuffer> result) {
  Operand operands[2];
  if (!locate(args, words, 2, operands)) return wrong_operands();
  const auto& [x, y] = operands;
  const ffi::Error wrong = wrong_call("matrix products: a wrong layout");
  if (layout.size() != 12) return wrong;
  const int64_t* sizes = layout.begin();
  const int64_t left_sizes[] = {sizes[0], sizes[1], sizes[3]};
  const int64_t right_sizes[] = {sizes[0], sizes[2], sizes[3]};
  size_t left_last, right_last;
  if (!last_of(sizes + 5, left_sizes, &left_last)) return wrong;
  if (!last_of(sizes + 9, right_sizes, &right_last)) return wrong;
  int64_t count;
  if (__builtin_mul_overflow(sizes[1], sizes[2], &count) ||
      __builtin_mul_overflow(count, sizes[0], &count) ||
      result->element_count() != static_cast<size_t>(count)) {
    return wrong;
  }
  if (x.type != y.type || result->element_type() != x.type) return wrong;
  const char* left = element_of(x, sizes[4], left_last);
  const char* right = element_of(y, sizes[8], right_last);
  if (left == nullptr || right == nullptr) return wrong;
  void* to = result->untyped_data();
  if (x.type == ffi::DataType::F32)
    return products_at<float>(pool, left, right, layout, to);
  if (x.type == ffi::DataType::F64)
    return products_at<double>(pool, left, right, layout, to);
  return wrong;
}

XLA_FFI_DEFINE_HANDLER(kMatrixProductsCall, matrix_products_call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::ThreadPool>()
                           .Attr<ffi::Span<const int64_t>>("words")
                           .Attr<ffi::Span<const int64_t>>("layout")
                           .RemainingArgs()
                           .Ret<ffi::AnyBuffer>());

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MATRIX_PRODUCTS_H_
