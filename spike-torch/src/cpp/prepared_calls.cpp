#include "prepared_calls.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>

namespace spike_torch {
namespace {

// Of one program. In a loop that trains, memory comes back at the same addresses after
// some tens of steps; one call fewer than that, and each step prepares its own.
constexpr size_t kMostCalls = 64;

// Of all programs. Nothing is called with it that may wait for another lock.
std::mutex mutex;
std::unordered_set<PreparedCalls*>& all() {
  static auto* only = new std::unordered_set<PreparedCalls*>;
  return *only;
}

}  // namespace

Slice slice_of(const Part& part, int core, int* status) {
  SpikeTensor* named = nullptr;
  auto* data = reinterpret_cast<void*>(part.address);
  *status = part.tensor
                ? spike().tensor_slice(part.tensor, part.offset, part.size, &named)
                : spike().tensor_attach(data, part.size, core, &named);
  return Slice(named, [](SpikeTensor* tensor) { spike().tensor_release(tensor); });
}

int PreparedCall::make(const SpikeModel* model, int core,
                       const std::vector<const char*>& names, size_t inputs,
                       const Parts& parts, const PreparedCall* like,
                       std::shared_ptr<const PreparedCall>* made) {
  std::shared_ptr<PreparedCall> call(new PreparedCall(parts));
  int status = call->slice(core, like);
  if (status != SPIKE_NRT_SUCCESS) return status;
  std::vector<SpikeTensor*> tensors;
  for (const Slice& slice : call->slices_) tensors.push_back(slice.get());
  status = spike().call_prepare(model, inputs, names.data(), tensors.data(),
                                parts.size() - inputs, names.data() + inputs,
                                tensors.data() + inputs, &call->call_);
  if (status == SPIKE_NRT_SUCCESS) *made = std::move(call);
  return status;
}

int PreparedCall::slice(int core, const PreparedCall* like) {
  int status = SPIKE_NRT_SUCCESS;
  for (size_t i = 0; i < parts_.size() && status == SPIKE_NRT_SUCCESS; ++i) {
    const bool is_same = like && like->parts_[i] == parts_[i];
    slices_.push_back(is_same ? like->slices_[i] : slice_of(parts_[i], core, &status));
  }
  return status;
}

PreparedCall::~PreparedCall() { spike().call_release(call_); }

PreparedCalls::PreparedCalls() {
  std::lock_guard lock(mutex);
  all().insert(this);
}

PreparedCalls::~PreparedCalls() {
  std::lock_guard lock(mutex);
  all().erase(this);
}

std::shared_ptr<const PreparedCall> PreparedCalls::find(const Parts& parts) {
  std::lock_guard lock(mutex);
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i]->parts() != parts) continue;
    if (i != 0) std::rotate(calls_.begin(), calls_.begin() + i, calls_.begin() + i + 1);
    return calls_.front();
  }
  return nullptr;
}

std::shared_ptr<const PreparedCall> PreparedCalls::last() {
  std::lock_guard lock(mutex);
  return calls_.empty() ? nullptr : calls_.front();
}

void PreparedCalls::add(std::shared_ptr<const PreparedCall> call) {
  std::shared_ptr<const PreparedCall> gone;  // without the lock
  std::lock_guard lock(mutex);
  if (calls_.size() >= kMostCalls) {
    gone = std::move(calls_.back());
    calls_.pop_back();
  }
  calls_.insert(calls_.begin(), std::move(call));
}

void PreparedCalls::clear() {
  std::vector<std::shared_ptr<const PreparedCall>> gone;
  std::lock_guard lock(mutex);
  gone.swap(calls_);
}

size_t PreparedCalls::size() {
  std::lock_guard lock(mutex);
  return calls_.size();
}

void forget_calls_on(uintptr_t address, size_t size) {
  std::vector<std::shared_ptr<const PreparedCall>> gone;
  const auto is_there = [&](const Part& part) {
    return part.address < address + size && address < part.address + part.size;
  };
  std::lock_guard lock(mutex);
  for (PreparedCalls* calls : all()) {
    auto& kept = calls->calls_;
    for (size_t i = kept.size(); i-- > 0;) {
      const Parts& parts = kept[i]->parts();
      if (std::none_of(parts.begin(), parts.end(), is_there)) continue;
      gone.push_back(std::move(kept[i]));
      kept.erase(kept.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

}  // namespace spike_torch
