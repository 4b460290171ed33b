#include "tensor_set.h"

#include <mutex>

namespace emulator {
namespace {

std::uint64_t next_version() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1);
}

}  // namespace

TensorSet::TensorSet() : version_(next_version()) {}

void TensorSet::set(const std::string& name, nrt_tensor_t* handle,
                    const std::shared_ptr<Tensor>& tensor) {
  std::unique_lock<std::shared_mutex> lock(mutex_);
  entries_[name] = Entry{handle, tensor};
  version_ = next_version();
}

bool TensorSet::find(const std::string& name, Entry* entry) const {
  std::shared_lock<std::shared_mutex> lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return false;
  *entry = found->second;
  return true;
}

std::shared_ptr<Tensor> TensorSet::find_tensor(const std::string& name) const {
  Entry entry;
  return find(name, &entry) ? entry.tensor.lock() : nullptr;
}

std::vector<std::string> TensorSet::names() const {
  std::vector<std::string> result;
  std::shared_lock<std::shared_mutex> lock(mutex_);
  for (const auto& entry : entries_) result.push_back(entry.first);
  return result;
}

}  // namespace emulator
