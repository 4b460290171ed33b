// Loads the NEFF that is named as its argument, schedules one execution of it on
// float32 inputs that count from 0, waits, and prints the outputs. In C++, over the
// asynchronous interface, whose symbols have a version of their own.
#include <nrt/nrt_async.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

void check(NRT_STATUS status, const char* what) {
  if (status == NRT_SUCCESS) return;
  throw std::runtime_error(std::string(what) + ": " + nrt_get_status_as_str(status));
}

struct Runtime {
  Runtime() { check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "init"); }
  ~Runtime() { nrt_close(); }
};

struct FreeTensor {
  void operator()(nrt_tensor_t* tensor) const { nrt_tensor_free(&tensor); }
};
using Tensor = std::unique_ptr<nrt_tensor_t, FreeTensor>;

Tensor make_tensor(const nrt_tensor_info_t& info) {
  nrt_tensor_t* handle = nullptr;
  check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, info.size, info.name,
                            &handle),
        "allocate");
  std::vector<float> values(info.size / sizeof(float));
  std::iota(values.begin(), values.end(), 0.0F);
  check(nrt_tensor_write(handle, values.data(), 0, info.size), "write");
  return Tensor(handle);
}

void print_tensor(const nrt_tensor_info_t& info, const nrt_tensor_t* tensor) {
  std::vector<float> values(info.size / sizeof(float));
  check(nrt_tensor_read(tensor, values.data(), 0, info.size), "read");
  std::cout << info.name << ":";
  for (const float value : values) std::cout << " " << value;
  std::cout << "\n";
}

void execute(nrt_model_t* model, nrt_tensor_set_t* inputs, nrt_tensor_set_t* outputs) {
  nrta_seq_t sequence = 0;
  NRT_STATUS result = NRT_FAILURE;
  check(nrta_execute_schedule(model, inputs, outputs, 0, &result, &sequence),
        "schedule");
  bool done = false;
  while (!done) {
    check(nrta_is_completed(sequence, &done), "is completed");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  check(result, "execute");
}

void run(const std::vector<char>& neff) {
  const Runtime runtime;
  nrt_model_t* model = nullptr;
  check(nrt_load(neff.data(), neff.size(), -1, -1, &model), "load");
  nrt_tensor_info_array_t* infos = nullptr;
  check(nrt_get_model_tensor_info(model, &infos), "tensor info");
  nrt_tensor_set_t* sets[2] = {};
  for (auto& set : sets) check(nrt_allocate_tensor_set(&set), "allocate set");
  std::vector<Tensor> tensors;
  for (uint64_t i = 0; i < infos->tensor_count; ++i) {
    const nrt_tensor_info_t& info = infos->tensor_array[i];
    tensors.push_back(make_tensor(info));
    check(
        nrt_add_tensor_to_tensor_set(sets[info.usage], info.name, tensors.back().get()),
        "add to set");
  }
  execute(model, sets[NRT_TENSOR_USAGE_INPUT], sets[NRT_TENSOR_USAGE_OUTPUT]);
  for (uint64_t i = 0; i < infos->tensor_count; ++i) {
    const nrt_tensor_info_t& info = infos->tensor_array[i];
    if (info.usage == NRT_TENSOR_USAGE_OUTPUT) print_tensor(info, tensors[i].get());
  }
  check(nrt_free_model_tensor_info(infos), "free tensor info");
  for (auto& set : sets) nrt_destroy_tensor_set(&set);
  check(nrt_unload(model), "unload");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 100;
  std::ifstream file(argv[1], std::ios::binary);
  run({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
