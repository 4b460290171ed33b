#include <time.h>

#include "trace_sink.h"

namespace emulator::trace {

std::uint64_t next_tracking_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

namespace {

std::int64_t read_ns(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::int64_t now_ns() noexcept { return read_ns(CLOCK_REALTIME); }

std::int64_t realtime_offset_ns() noexcept {
  return read_ns(CLOCK_REALTIME) - read_ns(CLOCK_MONOTONIC);
}

}  // namespace emulator::trace
