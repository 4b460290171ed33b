#include "statistics.h"

#include <algorithm>
#include <mutex>

namespace spike_torch {
namespace {

constexpr size_t kMostBuckets = 4096;
std::mutex mutex;

Statistics& all() {
  static auto* only = new Statistics;
  return *only;
}

void count_bucket(Statistics& in, const Values& buckets) {
  const auto found = in.bucket_hits.find(buckets);
  if (found != in.bucket_hits.end()) {
    ++found->second;
  } else {
    ++in.bucket_hits[in.bucket_hits.size() < kMostBuckets ? buckets : Values()];
  }
}

}  // namespace

void count_execution(const Execution& execution) {
  std::lock_guard lock(mutex);
  Statistics& in = all();
  const bool is_first = in.executions++ == 0;
  if (!execution.buckets->empty()) count_bucket(in, *execution.buckets);
  in.pad_ratio_sum += execution.pad_ratio;
  in.total_ms += execution.total_ms;
  in.least_ms =
      is_first ? execution.total_ms : std::min(in.least_ms, execution.total_ms);
  in.most_ms = std::max(in.most_ms, execution.total_ms);
  in.h2d_ms += execution.h2d_ms;
  in.run_ms += execution.run_ms;
  in.d2h_ms += execution.d2h_ms;
}

void count_compilation() {
  std::lock_guard lock(mutex);
  ++all().compilations;
}

Statistics statistics() {
  std::lock_guard lock(mutex);
  return all();
}

void reset_statistics() {
  std::lock_guard lock(mutex);
  all() = {};
}

}  // namespace spike_torch
