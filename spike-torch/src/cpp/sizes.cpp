#include "sizes.h"

#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>

#include <algorithm>

namespace spike_torch {
namespace {

using Kind = Expression::Kind;

bool is_operand(Kind kind) { return kind == Kind::kConstant || kind == Kind::kSymbol; }

int64_t floor_divide(int64_t a, int64_t b) {
  TORCH_CHECK_VALUE(b != 0, "nkipy: a size is divided by 0");
  if (b == -1) return -a;
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

int64_t compute(Kind kind, int64_t a, int64_t b) {
  int64_t result = 0;
  bool is_too_large = false;
  switch (kind) {
    case Kind::kAdd:
      is_too_large = __builtin_add_overflow(a, b, &result);
      break;
    case Kind::kSubtract:
      is_too_large = __builtin_sub_overflow(a, b, &result);
      break;
    case Kind::kMultiply:
      is_too_large = __builtin_mul_overflow(a, b, &result);
      break;
    case Kind::kFloorDivide:
      return floor_divide(a, b);
    case Kind::kModulo:
      return b == -1 ? 0 : a - floor_divide(a, b) * b;
    case Kind::kMinimum:
      return std::min(a, b);
    default:
      return std::max(a, b);
  }
  TORCH_CHECK_VALUE(!is_too_large, "nkipy: a size has more than 64 bits");
  return result;
}

int64_t power_of_two(int64_t value, int64_t first) {
  constexpr int64_t most = int64_t{1} << 62;
  TORCH_CHECK_VALUE(value <= most, "nkipy: no power of two in 64 bits is from ", value,
                    " up");
  int64_t bucket = 1;
  while (bucket < std::max(value, first)) bucket *= 2;
  return bucket;
}

int64_t multiple_from(int64_t value, int64_t step) {
  const int64_t rest = value % step;
  return rest == 0 ? value : compute(Kind::kAdd, value, step - rest);
}

}  // namespace

Expression::Expression(std::vector<Token> tokens, size_t symbols)
    : tokens_(std::move(tokens)) {
  size_t depth = 0;
  for (const Token& token : tokens_) {
    const bool is_known = token.kind != Kind::kSymbol ||
                          (token.value >= 0 && token.value < int64_t(symbols));
    TORCH_CHECK_VALUE(is_known, "nkipy: there is no symbol ", token.value, ", only ",
                      symbols);
    TORCH_CHECK_VALUE(is_operand(token.kind) || depth >= 2,
                      "nkipy: an expression in postfix has an operator that lacks "
                      "operands");
    depth = is_operand(token.kind) ? depth + 1 : depth - 1;
  }
  TORCH_CHECK_VALUE(depth == 1, "nkipy: an expression in postfix leaves ", depth,
                    " numbers, not one");
}

int64_t Expression::evaluate(c10::ArrayRef<int64_t> symbols) const {
  c10::SmallVector<int64_t, 8> stack;
  for (const Token& token : tokens_) {
    if (token.kind == Kind::kConstant) {
      stack.push_back(token.value);
    } else if (token.kind == Kind::kSymbol) {
      stack.push_back(symbols[static_cast<size_t>(token.value)]);
    } else {
      const int64_t second = stack.pop_back_val();
      stack.back() = compute(token.kind, stack.back(), second);
    }
  }
  return stack.back();
}

int64_t Buckets::choose(int64_t value) const {
  TORCH_CHECK_VALUE(value >= 0 || rule == Rule::kOne, "nkipy: a size is ", value);
  int64_t bucket;
  if (most == 0)
    bucket = unlimited(value);
  else
    bucket =
        value > most ? multiple_from(value, most) : std::min(unlimited(value), most);
  return limit != 0 && value <= limit ? std::min(bucket, limit) : bucket;
}

int64_t Buckets::unlimited(int64_t value) const {
  switch (rule) {
    case Rule::kOne:
      return 0;
    case Rule::kExact:
      return value;
    case Rule::kPowersOfTwo:
      return power_of_two(value, first);
    case Rule::kLinear:
      return value <= first ? first : first + multiple_from(value - first, step);
    default: {
      const auto found = std::lower_bound(listed.begin(), listed.end(), value);
      return found == listed.end() ? power_of_two(value, 1) : *found;
    }
  }
}

}  // namespace spike_torch
