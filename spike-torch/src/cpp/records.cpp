#include "records.h"

#include <utility>

namespace spike_torch {
namespace {

Records& all() {
  static auto* records = new Records;
  return *records;
}

}  // namespace

void set_records(Records records) { all() = std::move(records); }

const Records& records() { return all(); }

const Record& record_of(const std::string& name) {
  static const auto* none = new Record;
  const auto found = all().find(name);
  return found == all().end() ? *none : found->second;
}

}  // namespace spike_torch
