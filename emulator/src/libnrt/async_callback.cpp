#include "async_callback.h"

#include <mutex>

namespace emulator {
namespace {

struct Registration {
  std::mutex mutex;
  NRT_ASYNC_EXEC_STATUS_CALLBACK callback = nullptr;
  void* params = nullptr;
};

Registration& registration() {
  static auto* one = new Registration;  // outlives threads that run at exit
  return *one;
}

}  // namespace

void set_execution_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void* params) {
  Registration& one = registration();
  std::lock_guard<std::mutex> lock(one.mutex);
  one.callback = callback;
  one.params = params;
}

void call_execution_callback(std::uint32_t model_id, int core, nrta_seq_t sequence,
                             NRT_STATUS status) {
  Registration& one = registration();
  std::unique_lock<std::mutex> lock(one.mutex);
  const NRT_ASYNC_EXEC_STATUS_CALLBACK callback = one.callback;
  void* const params = one.params;
  lock.unlock();  // the callback may register another
  if (callback != nullptr) {
    callback(params, model_id, static_cast<std::uint32_t>(core), sequence, status);
  }
}

}  // namespace emulator
