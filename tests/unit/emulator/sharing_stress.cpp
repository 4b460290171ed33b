// Threads that share work at the same time, without Python and XLA: for
// sanitizers, under which XLA takes minutes to compile anything.
//
//     sharing_stress THREADS SECONDS

#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "work_sharing.h"

namespace {

constexpr size_t kWorkers = 4;
std::atomic<size_t> failures{0};
std::atomic<size_t> jobs{0};

void expect(bool is_so, const char* what) {
  if (is_so) return;
  ++failures;
  fprintf(stderr, "%s\n", what);
}

// Each piece is done once, and what it writes is seen by the caller.
void share(std::mt19937& random) {
  const size_t pieces = random() % 40, length = 1 + random() % 2000;
  std::vector<uint32_t> done(pieces * length);
  const bool ok = nkipy::share_among(
      kWorkers, pieces,
      [&](size_t piece) {
        for (size_t i = 0; i < length; ++i) done[piece * length + i] += 1;
      },
      random() % 2 == 0);
  expect(ok, "no memory");
  expect(std::accumulate(done.begin(), done.end(), size_t{0}) == done.size(),
         "a piece was not done once");
}

void run_out_of_memory(std::mt19937& random) {
  const size_t last = random() % 20;
  const bool ok = nkipy::share_among(kWorkers, 20, [&](size_t piece) {
    if (piece == last) throw std::bad_alloc();
  });
  expect(!ok, "a failure was lost");
}

void work(unsigned seed, std::chrono::steady_clock::time_point end) {
  std::mt19937 random(seed);
  while (std::chrono::steady_clock::now() < end) {
    share(random);
    if (random() % 8 == 0) run_out_of_memory(random);
    if (random() % 16 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++jobs;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(static_cast<long>(atof(argv[2]) * 1000));
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < static_cast<unsigned>(atoi(argv[1])); ++i) {
    threads.emplace_back(work, i, end);
  }
  for (std::thread& thread : threads) thread.join();
  printf("%zu jobs, %zu failures\n", jobs.load(), failures.load());
  return failures == 0 ? 0 : 1;
}
