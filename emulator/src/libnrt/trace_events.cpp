#include "trace_events.h"

#include <unistd.h>

#include "status.h"

namespace emulator::trace {
namespace {

struct Name {
  EventType type;
  const char* name;
};

constexpr Name kNames[] = {
    {EventType::nrt_load, "nrt_load"},
    {EventType::nrt_unload, "nrt_unload"},
    {EventType::nrt_execute, "nrt_execute"},
    {EventType::nc_exec_running, "nc_exec_running"},
    {EventType::tensor_read, "nrt_tensor_read"},
    {EventType::tensor_write, "nrt_tensor_write"},
    {EventType::tensor_copy, "nrt_tensor_copy"},
    {EventType::tensor_memset, "nrt_tensor_memset"},
    {EventType::tensor_allocate, "nrt_tensor_allocate"},
    {EventType::tensor_free, "nrt_tensor_free"},
    {EventType::model_submit, "nrt_model_submit"},
    {EventType::numerical_error, "numerical_err"},
    {EventType::model_switch, "nrt_model_switch"},
};
static_assert(sizeof kNames / sizeof kNames[0] == kEventTypes, "a type has no name");

void append_number(const char* key, std::int64_t value, std::string* text) {
  *text += '"';
  *text += key;
  *text += "\":";
  *text += std::to_string(value);
}

/// The members of "data": only those that the event has.
void append_data(const Event& event, std::string* text) {
  *text += "\"data\":{";
  const char* separator = "";
  if (event.device_ns != kNoTime) {
    append_number("nc_timestamp_ns", event.device_ns, text);
    *text += ",\"estimated\":true";
    separator = ",";
  }
  if (event.bytes != 0) {
    *text += separator;
    append_number("size", static_cast<std::int64_t>(event.bytes), text);
    separator = ",";
  }
  if (event.model_id != 0) {
    *text += separator;
    append_number("model_id", static_cast<std::int64_t>(event.model_id), text);
  }
  *text += '}';
}

}  // namespace

const char* event_name(EventType type) noexcept {
  for (const Name& entry : kNames) {
    if (entry.type == type) return entry.name;
  }
  return "unknown";
}

bool event_from_name(const std::string& name, EventType* type) noexcept {
  for (const Name& entry : kNames) {
    if (name != entry.name) continue;
    *type = entry.type;
    return true;
  }
  return false;
}

bool is_hardware(EventType type) noexcept {
  return type == EventType::nc_exec_running || type == EventType::numerical_error ||
         type == EventType::model_switch;
}

TypeSet all_types() noexcept {
  TypeSet types;
  types.fill(true);
  return types;
}

void enable_type(TypeSet& types, const char* name, bool enabled) {
  EventType type;
  if (!name || !event_from_name(name, &type)) {
    throw StatusError(NRT_INVALID, std::string("there are no events '") +
                                       (name ? name : "NULL") + "'");
  }
  types[static_cast<std::size_t>(type)] = enabled;
}

void append_json(const Event& event, std::string* text) {
  *text += "{\"event_type\":\"";
  *text += event_name(event.type);
  *text += event.phase == Phase::start ? "\",\"phase\":\"start\","
                                       : "\",\"phase\":\"stop\",";
  append_number("tracking_id", static_cast<std::int64_t>(event.tracking_id), text);
  *text += ',';
  append_number("timestamp_ns", event.host_ns, text);
  *text += ',';
  append_number("nc_idx", event.core, text);
  *text += ',';
  append_number("process_id", getpid(), text);
  *text += ',';
  append_data(event, text);
  *text += '}';
}

}  // namespace emulator::trace
