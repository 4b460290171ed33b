#include "spike.h"

#include <cstring>

namespace spike {

uint32_t Spike::visible_core_count(const NrtApi& api) {
  uint32_t count = 0;
  check(api.nrt_get_visible_nc_count(&count), "Failed to get visible NC count",
        describe_environment);
  return count;
}

std::string Spike::runtime_version(const NrtApi& api) {
  nrt_version_t version{};
  if (!api.nrt_get_version ||
      api.nrt_get_version(&version, sizeof version) != NRT_SUCCESS)
    return "unknown";
  std::string text = std::to_string(version.rt_major);
  for (uint64_t part : {version.rt_minor, version.rt_patch, version.rt_maintenance})
    text += "." + std::to_string(part);
  std::string detail(version.rt_detail,
                     strnlen(version.rt_detail, sizeof version.rt_detail));
  return detail.empty() ? text : text + " (" + detail + ")";
}

}  // namespace spike
