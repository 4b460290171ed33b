// What is counted of executions.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "sizes.h"

namespace spike_torch {

using Clock = std::chrono::steady_clock;

inline double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

struct Execution {
  const Values* buckets;  // none: all sizes are fixed
  double pad_ratio = 1;   // bucket by actual size, of all symbols together
  double h2d_ms = 0, run_ms = 0, d2h_ms = 0, total_ms = 0;
};

struct Statistics {
  uint64_t executions = 0, compilations = 0;
  /// By the buckets of all symbols. Of more than a few thousand, the rest is under
  /// none.
  std::map<Values, uint64_t> bucket_hits;
  double pad_ratio_sum = 0, total_ms = 0, least_ms = 0, most_ms = 0;
  double h2d_ms = 0, run_ms = 0, d2h_ms = 0;
};

/// Of the process. Any thread may call these.
void count_execution(const Execution& execution);
void count_compilation();
Statistics statistics();
void reset_statistics();

}  // namespace spike_torch
