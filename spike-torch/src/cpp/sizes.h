// Sizes that depend on symbols, and the buckets that symbols' values lie in.
#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>
#include <vector>

namespace spike_torch {

using Values = std::vector<int64_t>;

/// A whole number that depends on symbols' values, in postfix.
class Expression {
 public:
  enum class Kind : uint8_t {
    kConstant,
    kSymbol,
    kAdd,
    kSubtract,
    kMultiply,
    kFloorDivide,  // as Python's //
    kModulo,       // as Python's %
    kMinimum,
    kMaximum,
  };
  struct Token {
    Kind kind;
    int64_t value;  // a constant, or which symbol
  };

  /// Raises ValueError for what is no expression of `symbols` symbols.
  Expression(std::vector<Token> tokens, size_t symbols);

  bool is_constant() const {
    return tokens_.size() == 1 && tokens_[0].kind == Kind::kConstant;
  }
  /// Raises ValueError for a division by 0, and for what is no 64-bit number.
  int64_t evaluate(c10::ArrayRef<int64_t> symbols) const;

 private:
  std::vector<Token> tokens_;
};

/// A dimension: the product of its factors, the last of which varies fastest.
using Dimension = std::vector<Expression>;

/// Which bucket a value lies in: the smallest that is not smaller.
struct Buckets {
  enum class Rule : uint8_t { kPowersOfTwo, kLinear, kListed, kExact, kOne };
  Rule rule = Rule::kExact;
  int64_t first = 1, step = 1;  // powers of two begin at the first; linear ones too
  Values listed;                // ascending; beyond them, powers of two
  int64_t most = 0;   // beyond it, multiples of it; 0: none, as if it were infinite
  int64_t limit = 0;  // no value is larger, so that no bucket is; 0: none

  /// Raises ValueError for a value that there is no bucket for.
  int64_t choose(int64_t value) const;

 private:
  int64_t unlimited(int64_t value) const;
};

/// Where the value of a symbol is read.
struct Symbol {
  std::string name;
  size_t argument;
  int dimension;  // of a tensor; -1: the argument is the number
  Buckets buckets;
};

}  // namespace spike_torch
