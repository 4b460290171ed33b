// Events of the system trace as clients see them: names, and JSON.
#pragma once

#include <array>
#include <string>

#include "trace_sink.h"

namespace emulator::trace {

/// The name of a type, as in the vendor's traces: "nc_exec_running".
const char* event_name(EventType type) noexcept;

/// The type with that name. False, and `*type` stays, if there is none.
bool event_from_name(const std::string& name, EventType* type) noexcept;

/// Whether the type tells of the core, and not of the host's calls.
bool is_hardware(EventType type) noexcept;

/// Types of which events are wanted, by number.
using TypeSet = std::array<bool, kEventTypes>;

/// All of them.
TypeSet all_types() noexcept;

/// Switches the type with this name. Throws StatusError(NRT_INVALID) if there is none.
void enable_type(TypeSet& types, const char* name, bool enabled);

/// Appends one event as a JSON object.
void append_json(const Event& event, std::string* text);

}  // namespace emulator::trace
