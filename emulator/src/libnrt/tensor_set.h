// Tensor sets: tensors by the name that a model knows them by.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "nrt/nrt.h"
#include "tensor.h"

namespace emulator {

/// Names of tensors. Owns none: a tensor that was freed is found to be gone.
class TensorSet {
 public:
  static constexpr unsigned kHandleTag = 0x12;
  static constexpr const char* kHandleName = "tensor set";

  struct Entry {
    nrt_tensor_t* handle = nullptr;
    std::weak_ptr<Tensor> tensor;
  };

  TensorSet();

  /// Adds or replaces.
  void set(const std::string& name, nrt_tensor_t* handle,
           const std::shared_ptr<Tensor>& tensor);
  /// False if there is no such name.
  bool find(const std::string& name, Entry* entry) const;
  /// Null if the name is missing or its tensor was freed.
  std::shared_ptr<Tensor> find_tensor(const std::string& name) const;
  /// In alphabetical order.
  std::vector<std::string> names() const;
  /// Differs after each change, and between any two sets of the process: a key for what
  /// was prepared from the set. Never 0.
  std::uint64_t version() const noexcept { return version_.load(); }

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::atomic<std::uint64_t> version_;
};

}  // namespace emulator
