#include "status.h"

#include "api.h"

namespace emulator {
namespace {

struct Name {
  NRT_STATUS status;
  const char* name;
};

#define EMULATOR_STATUS(name) {name, #name}

constexpr Name kNames[] = {
    EMULATOR_STATUS(NRT_SUCCESS),
    EMULATOR_STATUS(NRT_FAILURE),
    EMULATOR_STATUS(NRT_INVALID),
    EMULATOR_STATUS(NRT_INVALID_HANDLE),
    EMULATOR_STATUS(NRT_RESOURCE),
    EMULATOR_STATUS(NRT_TIMEOUT),
    EMULATOR_STATUS(NRT_HW_ERROR),
    EMULATOR_STATUS(NRT_QUEUE_FULL),
    EMULATOR_STATUS(NRT_LOAD_NOT_ENOUGH_NC),
    EMULATOR_STATUS(NRT_UNSUPPORTED_NEFF_VERSION),
    EMULATOR_STATUS(NRT_FAIL_HOST_MEM_ALLOC),
    EMULATOR_STATUS(NRT_UNINITIALIZED),
    EMULATOR_STATUS(NRT_CLOSED),
    EMULATOR_STATUS(NRT_QUEUE_EMPTY),
    EMULATOR_STATUS(NRT_EXEC_UNIT_UNRECOVERABLE),
    EMULATOR_STATUS(NRT_EXEC_BAD_INPUT),
    EMULATOR_STATUS(NRT_EXEC_COMPLETED_WITH_NUM_ERR),
    EMULATOR_STATUS(NRT_EXEC_COMPLETED_WITH_ERR),
    EMULATOR_STATUS(NRT_EXEC_NC_BUSY),
    EMULATOR_STATUS(NRT_EXEC_OOB),
    EMULATOR_STATUS(NRT_COLL_PENDING),
    EMULATOR_STATUS(NRT_EXEC_HW_ERR_COLLECTIVES),
    EMULATOR_STATUS(NRT_EXEC_HW_ERR_HBM_UE),
    EMULATOR_STATUS(NRT_EXEC_HW_ERR_NC_UE),
    EMULATOR_STATUS(NRT_EXEC_HW_ERR_DMA_ABORT),
    EMULATOR_STATUS(NRT_EXEC_SW_NQ_OVERFLOW),
    EMULATOR_STATUS(NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE),
    EMULATOR_STATUS(NRT_NETWORK_PROXY_FAILURE),
};

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
