// Start-up, versions, topology.
#include <algorithm>
#include <cstring>

#include "api.h"
#include "profile_inspect.h"
#include "session.h"

namespace emulator {
namespace {

// The version of the vendor's library whose interface and behaviour this one has.
constexpr nrt_version_t kVersion = {
    2, 32, 0, 0, "nkipy-emulator: runs on the CPU; its times are estimates", ""};

template <std::size_t N>
void copy_text(char (&destination)[N], const char* text) {
  std::strncpy(destination, text, N - 1);
}

/// As much of the record as the caller has room for: records may grow.
template <typename Record>
std::size_t copy_record(const Record& record, void* destination, std::size_t room) {
  const std::size_t size = std::min(room, sizeof record);
  std::memcpy(destination, &record, size);
  return size;
}

/// The topology now in force, or the one that nrt_init would set up.
Topology current_topology() {
  const Call call;
  if (call.status() == NRT_SUCCESS) return call.session().topology();
  return Topology(Environment::read());
}

std::uint32_t visible_core_count() {
  const Call call;
  if (call.status() == NRT_SUCCESS) {
    return static_cast<std::uint32_t>(call.session().core_count());
  }
  const Environment environment = Environment::read();
  return requested_cores(environment, Topology(environment)).count;
}

nrt_instance_info_t describe_instance(const InstanceType& instance) {
  nrt_instance_info_t info{};
  info.family = instance.family;
  info.size = instance.size;
  copy_text(info.arch_name, instance.architecture);
  copy_text(info.device_revision, "emu");
  return info;
}

/// Starts what NEURON_RT_INSPECT_* ask for. If that fails, so does nrt_init.
void begin_inspection() {
  try {
    const Call call;
    if (call.status() == NRT_SUCCESS) inspect::begin_if_enabled(call.session());
  } catch (...) {
    Runtime::instance().close();
    throw;
  }
}

NRT_STATUS get_total_count(const char* function, std::uint32_t* count) {
  return api_call_any_time(function, [&] {
    require(count, "the result's address is NULL");
    *count = current_topology().logical_core_count();
    return NRT_SUCCESS;
  });
}

NRT_STATUS get_visible_count(const char* function, std::uint32_t* count) {
  return api_call_any_time(function, [&] {
    require(count, "the result's address is NULL");
    *count = visible_core_count();
    return NRT_SUCCESS;
  });
}

}  // namespace
}  // namespace emulator

using namespace emulator;

NRT_API NRT_STATUS nrt_init(nrt_framework_type_t framework, const char*, const char*) {
  log::configure();
  log::report_mistakes();
  clear_last_error();
  try {
    inject::load_environment();  // first: the rules may be for nrt_init itself
  } catch (...) {
    return status_of_current_exception("nrt_init");
  }
  return api_call_any_time("nrt_init", [&] {
    Runtime::instance().initialise();
    begin_inspection();
    EMULATOR_LOG(nrt, info, "nrt_init", "initialised, for framework %d", framework);
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_close(void) {
  api_call_any_time("nrt_close", [] {
    Runtime::instance().close();
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_version(nrt_version_t* version, size_t size) {
  return api_call_any_time("nrt_get_version", [&] {
    require(version && size > 0, "there is no room for the version");
    copy_record(kVersion, version, size);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_instance_info(nrt_instance_info_t* info, size_t size) {
  return api_call_any_time("nrt_get_instance_info", [&] {
    require(info && size > 0, "there is no room for the instance's description");
    copy_record(describe_instance(current_topology().instance()), info, size);
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_total_nc_count(uint32_t* count) {
  return get_total_count("nrt_get_total_nc_count", count);
}

NRT_API NRT_STATUS nrt_get_total_vnc_count(uint32_t* count) {
  return get_total_count("nrt_get_total_vnc_count", count);
}

NRT_API NRT_STATUS nrt_get_visible_nc_count(uint32_t* count) {
  return get_visible_count("nrt_get_visible_nc_count", count);
}

NRT_API NRT_STATUS nrt_get_visible_vnc_count(uint32_t* count) {
  return get_visible_count("nrt_get_visible_vnc_count", count);
}

NRT_API NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t* stats,
                                            size_t stats_size_in,
                                            size_t* stats_size_out) {
  return api_call("nrt_get_vnc_memory_stats", [&](Session& session) {
    require(stats && stats_size_in > 0, "there is no room for the statistics");
    const HbmPool& hbm = *session.core(vnc).hbm;
    const nrt_vnc_memory_stats_t current = {hbm.used(), hbm.limit()};
    const std::size_t written = copy_record(current, stats, stats_size_in);
    if (stats_size_out) *stats_size_out = written;
    return NRT_SUCCESS;
  });
}
