#include "engine.h"

#include "engine_json.h"
#include "log.h"
#include "session.h"
#include "status.h"

namespace emulator {

void Printer::operator()(std::uint32_t rank,
                         const debug_stream::DebugTensor& tensor) const noexcept {
  try {
    if (rank < cores_.size()) debug_stream::publish(cores_[rank], tensor);
  } catch (const std::exception&) {
    // Too many dimensions, or no memory.
  }
}

namespace {

TensorSpec read_spec(const json::Value& value) {
  TensorSpec spec;
  spec.name = value.at("name").as_string();
  spec.dtype = value.at("dtype").as_string();
  for (const json::Value& dimension : value.at("shape").as_array()) {
    spec.shape.push_back(static_cast<std::uint32_t>(dimension.as_count()));
  }
  spec.bytes = value.at("nbytes").as_count();
  return spec;
}

std::vector<TensorSpec> read_specs(const json::Value& list) {
  std::vector<TensorSpec> specs;
  for (const json::Value& value : list.as_array()) specs.push_back(read_spec(value));
  return specs;
}

ProgramDescription read_description(const json::Value& value) {
  ProgramDescription result;
  result.name = value.at("name").as_string();
  result.target = value.at("target").as_string();
  result.logical_core_size = static_cast<std::uint32_t>(value.at("lnc").as_count());
  result.ranks = static_cast<std::uint32_t>(value.at("ranks").as_count());
  result.inputs = read_specs(value.at("inputs"));
  result.outputs = read_specs(value.at("outputs"));
  for (const json::Value& pair : value.at("aliases").as_array()) {
    const std::vector<json::Value>& ends = pair.as_array();
    if (ends.size() != 2) throw json::Error("an alias is no pair");
    const std::size_t output = ends[0].as_count(), input = ends[1].as_count();
    if (output >= result.outputs.size() || input >= result.inputs.size()) {
      throw json::Error("an alias names no tensor");
    }
    result.aliases.emplace_back(output, input);
  }
  result.program_bytes = value.at("program_bytes").as_count();
  return result;
}

const char* flag(bool value) { return value ? "true" : "false"; }

}  // namespace

ProgramDescription ProgramDescription::parse(const std::string& json) {
  try {
    return read_description(json::parse(json));
  } catch (const json::Error& error) {
    throw StatusError(NRT_FAILURE,
                      std::string("the engine's description: ") + error.what());
  }
}

CostEstimate CostEstimate::parse(const std::string& json) {
  try {
    const json::Value value = json::parse(json);
    return {value.at("estimated_ns").as_count(), value.at("switch_ns").as_count(),
            value.at("timeline").as_string()};
  } catch (const json::Error& error) {
    throw StatusError(NRT_FAILURE,
                      std::string("the engine's estimate: ") + error.what());
  }
}

std::shared_ptr<const CostEstimate> Program::cost() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (cost_) return cost_;
  }
  // Not under the lock: the engine may wait for the interpreter's, which another
  // thread that wants the estimate may hold.
  CostEstimate made;
  try {
    made = CostEstimate::parse(estimate());
  } catch (const StatusError& error) {
    EMULATOR_LOG(nrt, error, "estimate", "%s has no estimate: %s",
                 description_.name.c_str(), error.what());
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (!cost_) cost_ = std::make_shared<const CostEstimate>(std::move(made));
  return cost_;
}

std::string LoadSettings::to_json() const {
  return std::string("{\"target\": ") + json::quote(target) +
         ", \"lnc\": " + std::to_string(logical_core_size) +
         ", \"rank\": " + std::to_string(rank) +
         ", \"world_size\": " + std::to_string(ranks) +
         ", \"root_comm_id\": " + json::quote(root_comm_id) +
         ", \"timeout_ms\": " + std::to_string(timeout.count()) +
         ", \"peers_reachable\": " + flag(peers_reachable) +
         ", \"validate_hash\": " + flag(validate_hash) +
         ", \"allow_legacy\": " + flag(allow_legacy_neff) +
         ", \"fail_out_of_bounds\": " + flag(fail_out_of_bounds) + "}";
}

std::string Meeting::to_json() const {
  return std::string("{\"function\": ") + json::quote(function) +
         ", \"root_comm_id\": " + json::quote(root_comm_id) +
         ", \"rank\": " + std::to_string(rank) +
         ", \"world_size\": " + std::to_string(ranks) +
         ", \"timeout_ms\": " + std::to_string(timeout.count()) + "}";
}

std::shared_ptr<Engine> make_engine(Session& session) {
  const Environment& environment = session.environment();
  return resolve_engine(environment) == EngineChoice::child
             ? make_child_engine(environment, session.memory())
             : make_python_engine(environment);
}

}  // namespace emulator
