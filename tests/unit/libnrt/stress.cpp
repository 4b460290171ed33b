// Threads that load, execute, schedule, read, slice and free at random on several
// cores, while one of them closes the runtime in the end. For builds with sanitizers.
//
// Usage: stress program.neff threads seconds. The program has one input "x0" and one
// output "output0", both 8 float32, and adds 1.

#include <nrt/nrt.h>
#include <nrt/nrt_async.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kCount = 8;
constexpr std::size_t kBytes = kCount * sizeof(float);

std::atomic<long> executions{0};

void check(NRT_STATUS status, const char* what) {
  if (status == NRT_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", what, nrt_get_status_as_str(status));
  std::exit(1);
}

class Worker {
 public:
  Worker(const std::string& neff, unsigned seed, int core)
      : neff_(neff), random_(seed), core_(core) {}

  void step() {
    const unsigned choice = random_() % 20;
    if (model_ == nullptr) {
      check(nrt_load(neff_.data(), neff_.size(), core_, 1, &model_), "nrt_load");
    } else if (choice == 0) {
      check(nrt_unload(model_), "nrt_unload");
      model_ = nullptr;
    } else {
      execute(choice);
    }
  }

 private:
  nrt_tensor_t* make_tensor(float value) {
    nrt_tensor_t *whole = nullptr, *part = nullptr;
    check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, core_, 2 * kBytes, "t",
                              &whole),
          "nrt_tensor_allocate");
    check(nrt_tensor_allocate_slice(whole, kBytes, kBytes, "part", &part), "slice");
    nrt_tensor_free(&whole);
    const std::vector<float> values(kCount, value);
    check(nrt_tensor_write(part, values.data(), 0, kBytes), "nrt_tensor_write");
    return part;
  }

  nrt_tensor_set_t* make_set(const char* name, nrt_tensor_t* tensor) {
    nrt_tensor_set_t* set = nullptr;
    check(nrt_allocate_tensor_set(&set), "nrt_allocate_tensor_set");
    check(nrt_add_tensor_to_tensor_set(set, name, tensor), "nrt_add_tensor");
    return set;
  }

  void execute(unsigned choice) {
    const float value = static_cast<float>(random_() % 1000);
    nrt_tensor_t *x = make_tensor(value), *out = make_tensor(-1);
    nrt_tensor_set_t *inputs = make_set("x0", x), *outputs = make_set("output0", out);
    if (choice < 8) {
      schedule(inputs, outputs);
    } else {
      check(nrt_execute(model_, inputs, outputs), "nrt_execute");
    }
    std::vector<float> result(kCount);
    check(nrt_tensor_read(out, result.data(), 0, kBytes), "nrt_tensor_read");
    for (const float got : result) {
      if (got == value + 1) continue;
      std::fprintf(stderr, "got %g for %g\n", got, value);
      std::exit(2);
    }
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    nrt_tensor_free(&x);
    nrt_tensor_free(&out);
    ++executions;
  }

  void schedule(nrt_tensor_set_t* inputs, nrt_tensor_set_t* outputs) {
    auto status = static_cast<NRT_STATUS>(-1);
    nrta_seq_t sequence = 0;
    NRT_STATUS taken;
    while ((taken = nrta_execute_schedule(model_, inputs, outputs, 0, &status,
                                          &sequence)) == NRT_QUEUE_FULL) {
      std::this_thread::yield();
    }
    check(taken, "nrta_execute_schedule");
    bool done = false;
    while (!done) {
      check(nrta_is_completed(sequence, &done), "nrta_is_completed");
      if (!done) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    check(status, "completion");
  }

  const std::string& neff_;
  std::minstd_rand random_;
  const int core_;
  nrt_model_t* model_ = nullptr;
};

// Executes until the runtime is closed under it.
void run_into_the_end(const std::string& neff) {
  nrt_model_t* model = nullptr;
  nrt_tensor_t* x = nullptr;
  nrt_tensor_set_t *inputs = nullptr, *outputs = nullptr;
  NRT_STATUS status = nrt_load(neff.data(), neff.size(), 0, 1, &model);
  if (status == NRT_SUCCESS) {
    status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, kBytes, "t", &x);
  }
  if (status == NRT_SUCCESS) status = nrt_allocate_tensor_set(&inputs);
  if (status == NRT_SUCCESS) status = nrt_allocate_tensor_set(&outputs);
  if (status == NRT_SUCCESS) status = nrt_add_tensor_to_tensor_set(inputs, "x0", x);
  if (status == NRT_SUCCESS) {
    status = nrt_add_tensor_to_tensor_set(outputs, "output0", x);
  }
  while (status == NRT_SUCCESS) {
    nrta_seq_t sequence = 0;
    nrta_execute_schedule(model, inputs, outputs, 0, nullptr, &sequence);
    status = nrt_execute(model, inputs, outputs);
  }
  if (status != NRT_CLOSED) check(status, "until the end");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 100;
  std::ifstream file(argv[1], std::ios::binary);
  const std::string neff((std::istreambuf_iterator<char>(file)), {});
  const int count = std::atoi(argv[2]);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[3]));
  check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
  std::uint32_t cores = 0;
  check(nrt_get_visible_nc_count(&cores), "nrt_get_visible_nc_count");
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&neff, &end, i, cores] {
      Worker worker(neff, static_cast<unsigned>(i + 1), i % static_cast<int>(cores));
      while (std::chrono::steady_clock::now() < end) worker.step();
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  for (int i = 0; i < 2; ++i) threads.emplace_back(run_into_the_end, std::cref(neff));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  nrt_close();
  for (std::thread& thread : threads) thread.join();
  std::printf("%ld executions\n", executions.load());
  return executions.load() > 0 ? 0 : 3;
}
