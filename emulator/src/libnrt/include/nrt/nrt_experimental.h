// Kept for programs that include it: everything is declared in the other headers.
#pragma once

#include "nrt/nrt.h"
#include "nrt/nrt_profile.h"
