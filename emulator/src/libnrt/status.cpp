#include "status.h"

#include "api.h"
#include "status_names.h"

namespace emulator {
namespace {

struct Name {
  NRT_STATUS status;
  const char* name;
};

#define EMULATOR_STATUS(name) {name, #name},
constexpr Name kNames[] = {EMULATOR_STATUSES(EMULATOR_STATUS)};
#undef EMULATOR_STATUS

}  // namespace

const char* status_name(int status) noexcept {
  for (const Name& entry : kNames) {
    if (entry.status == status) return entry.name;
  }
  return nullptr;
}

bool status_from_name(const std::string& name, NRT_STATUS* status) noexcept {
  for (const Name& entry : kNames) {
    if (name == entry.name) {
      *status = entry.status;
      return true;
    }
  }
  return false;
}

void require(bool condition, const char* message) {
  if (!condition) throw StatusError(NRT_INVALID, message);
}

}  // namespace emulator

NRT_API const char* nrt_get_status_as_str(NRT_STATUS status) {
  const char* name = emulator::status_name(status);
  return name ? name : "NRT_STATUS_UNKNOWN";
}
