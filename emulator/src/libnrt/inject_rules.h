// The rules of failure injection: their text, and when they apply. See inject.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nrt/nrt_status.h"

namespace emulator::inject {

/// When a rule applies, by the number of the call, from 1.
struct When {
  enum class Kind { always, at, from, every } kind = Kind::always;
  std::uint64_t number = 1;

  bool applies(std::uint64_t call) const noexcept;
};

/// One failure, with its count of calls.
class Rule {
 public:
  Rule(std::string function, NRT_STATUS status, When when)
      : function_(std::move(function)), status_(status), when_(when) {}

  const std::string& function() const noexcept { return function_; }
  NRT_STATUS status() const noexcept { return status_; }
  /// Counts a call of the function; whether it is to fail.
  bool count_call() noexcept { return when_.applies(++calls_); }

 private:
  const std::string function_;
  const NRT_STATUS status_;
  const When when_;
  std::atomic<std::uint64_t> calls_{0};
};

using Rules = std::vector<std::unique_ptr<Rule>>;

/// Reads rules; none in an empty text. Throws StatusError(NRT_INVALID) naming the rule
/// that is malformed, and what would not be.
Rules parse_rules(const std::string& text);

}  // namespace emulator::inject
