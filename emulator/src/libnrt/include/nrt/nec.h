// Callbacks that the vendor's collectives library makes into libnrt.
//
// Internal to the two of them. The emulator does collectives itself and never loads
// that library: it exports the symbols, all of which fail, and describes only this one.
#pragma once

#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// How many physical cores make a logical one.
NRT_STATUS nec_get_virtual_core_size(uint32_t* size);

#ifdef __cplusplus
}
#endif
