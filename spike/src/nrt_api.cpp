#include "nrt_api.h"

#include <dlfcn.h>

#include "nrt_wrapper.h"
#include "spike_statuses.h"

namespace spike {
namespace {

void* open_library(const std::string& path) {
  if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  throw SpikeError(std::string("Failed to load libnrt: ") + dlerror() +
                   "; SPIKE_LIBNRT names the one to load");
}

}  // namespace

const char* status_name(int status) {
  switch (status) {
#define X(name, number) \
  case number:          \
    return #name;
    SPIKE_NRT_STATUSES(X)
#undef X
  }
  return "UNKNOWN STATUS";
}

void fail_missing(const char* function) {
  throw SpikeError("This libnrt has no function " + std::string(function) +
                   ", which this needs.");
}

NrtApi::NrtApi(const std::string& path) : library_(open_library(path)) {
  if (!missing_.empty())
    throw SpikeError(path +
                     " is not a libnrt that spike can use. It lacks:" + missing_);
}

void* NrtApi::find(const char* name, bool is_required, const char* version) {
  void* symbol = version ? dlvsym(library_, name, version) : dlsym(library_, name);
  if (!symbol && is_required) missing_ += std::string(" ") + name;
  return symbol;
}

}  // namespace spike
