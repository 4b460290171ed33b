// The version of the interface (not of the library: see nrt_get_version).
#pragma once

#define NRT_MAJOR_VERSION 2
#define NRT_MINOR_VERSION 0
