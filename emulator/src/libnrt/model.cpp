#include "model.h"

#include <atomic>

#include "status.h"

namespace emulator {
namespace {

std::uint32_t next_id() {
  static std::atomic<std::uint32_t> last{0};
  return ++last;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text.empty() ? "none" : text;
}

[[noreturn]] void throw_missing(const std::string& name,
                                const std::vector<TensorSpec>& specs,
                                const TensorSet& set, const char* role) {
  std::vector<std::string> expected;
  for (const TensorSpec& spec : specs) expected.push_back(spec.name);
  throw StatusError(NRT_INVALID, std::string("the set of ") + role +
                                     "s has no tensor '" + name + "'; expected " +
                                     join(expected) + "; received " +
                                     join(set.names()));
}

std::vector<std::weak_ptr<Tensor>> look_up(const std::vector<TensorSpec>& specs,
                                           const TensorSet& set, const char* role) {
  std::vector<std::weak_ptr<Tensor>> tensors;
  tensors.reserve(specs.size());
  for (const TensorSpec& spec : specs) {
    TensorSet::Entry entry;
    if (!set.find(spec.name, &entry)) throw_missing(spec.name, specs, set, role);
    tensors.push_back(entry.tensor);
  }
  return tensors;
}

}  // namespace

HbmShare::HbmShare(std::shared_ptr<HbmPool> pool, std::size_t bytes)
    : pool_(std::move(pool)), bytes_(bytes) {
  if (pool_->reserve(bytes_)) return;
  throw StatusError(NRT_RESOURCE,
                    "the program needs " + std::to_string(bytes_) + " bytes of HBM; " +
                        std::to_string(pool_->limit() - pool_->used()) + " of " +
                        std::to_string(pool_->limit()) + " are free");
}

Model::Model(int core, RankSeat seat, const std::shared_ptr<HbmPool>& hbm)
    : id_(next_id()),
      core_(core),
      seat_(std::move(seat)),
      share_(hbm, seat_.program().description().program_bytes) {}

std::shared_ptr<const Binding> Model::bind(const TensorSet& inputs,
                                           const TensorSet& outputs) {
  // Read before the tensors: a change in between makes the binding stale, not wrong.
  const std::uint64_t in = inputs.version(), out = outputs.version();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (binding_ && binding_->input_version == in && binding_->output_version == out) {
      return binding_;
    }
  }
  auto binding = std::make_shared<Binding>();
  binding->input_version = in;
  binding->output_version = out;
  binding->inputs = look_up(description().inputs, inputs, "input");
  binding->outputs = look_up(description().outputs, outputs, "output");
  std::lock_guard<std::mutex> lock(mutex_);
  binding_ = binding;
  return binding;
}

}  // namespace emulator
