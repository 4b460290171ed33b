// Made from emulator/src/libnrt/include/nrt/nrt_version.h
// by tools/generate_libnrt_headers.py; not to be edited.

// The version of the library.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RT_VERSION_DETAIL_LEN 128
#define GIT_HASH_LEN 64

typedef struct nrt_version {
  uint64_t rt_major;
  uint64_t rt_minor;
  uint64_t rt_patch;
  uint64_t rt_maintenance;
  char rt_detail[RT_VERSION_DETAIL_LEN];
  char git_hash[GIT_HASH_LEN];
} nrt_version_t;

/// Fills the first `size` bytes of the record. Works at any time.
NRT_STATUS nrt_get_version(nrt_version_t* version, size_t size);

#ifdef __cplusplus
}
#endif
