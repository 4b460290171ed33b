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
  std::string text = std::to_string(version.major);
  for (uint64_t part : {version.minor, version.patch, version.maintenance})
    text += "." + std::to_string(part);
  std::string detail(version.detail, strnlen(version.detail, sizeof version.detail));
  return detail.empty() ? text : text + " (" + detail + ")";
}

}  // namespace spike
