// Callbacks that the vendor's collectives library makes into libnrt.
//
// Internal to the two of them. The emulator does collectives itself and never loads
// that library: it exports the symbols, all of which fail but those described here.
#pragma once

#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NEC_MAX_CHANNELS 32
#define NEC_MAX_COMM_N 12   // replica groups in a NEFF
#define NEC_MAX_STREAM_N 4  // collectives that run at once

typedef enum nec_pod_type {
  NEC_POD_TYPE_NONE,
  NEC_POD_TYPE_P2P,
  NEC_POD_TYPE_SWITCH,
  NEC_POD_TYPE_INVALID
} nec_pod_type_t;

typedef enum enc_pattern {
  ENC_PATTERN_RING,
  ENC_PATTERN_MESH,
  ENC_PATTERN_INVALID,
} enc_pattern_t;

typedef struct nec_version_info {
  uint64_t major;
  uint64_t minor;
  uint64_t patch;
  uint64_t maintenance;
  char git_hash[16];
  uint64_t compatibility_version;
#ifndef __cplusplus  // which has no such arrays
  uint8_t future_fields[];
#endif
} nec_version_info_t;

/// How many physical cores make a logical one.
NRT_STATUS nec_get_virtual_core_size(uint32_t* size);
/// That of the library, as nrt_get_version has it. The compatibility version, which
/// only the vendor's two libraries have a use for, is 0. Works at any time.
NRT_STATUS nec_get_version_info(nec_version_info_t* info);

#ifdef __cplusplus
}
#endif
