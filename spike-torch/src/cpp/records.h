// What is known of torch's operators beside their schemas. The table is Python's,
// spike_torch.aten, and says what the members mean.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace spike_torch {

/// What torch.autocast makes of floating-point arguments.
enum class Cast { kFloat32, kLower, kWidest };

/// Who computes it.
enum class Runs { kAsTorchHasIt, kWhole, kRefused };

struct Record {
  std::vector<std::string> host_arguments;
  Cast cast = Cast::kFloat32;
  Runs runs = Runs::kAsTorchHasIt;
  std::vector<std::string> writes;
};

/// By name with overload, as "aten::index.Tensor".
using Records = std::map<std::string, Record>;

/// Once, before any operator is registered.
void set_records(Records records);
/// An operator's; of one that has none, one that says nothing.
const Record& record_of(const std::string& name);
const Records& records();

}  // namespace spike_torch
