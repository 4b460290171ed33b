// Made from nkipy/src/nkipy/chips by tools/generate_chips.py; not to be edited.
#pragma once

#include "topology.h"

namespace emulator {

constexpr char kDefaultInstance[] = "trn2";

// clang-format off
constexpr InstanceType kInstances[] = {
    {"trn1", 2, 1, "NCv2", "trn1", 1, 2, 1, 32, 96, 1, 1},
    {"trn1.2xlarge", 2, 1, "NCv2", "trn1", 1, 2, 1, 32, 96, 1, 1},
    {"trn1.32xlarge", 2, 6, "NCv2", "trn1", 16, 2, 1, 32, 96, 1, 1},
    {"trn1n.32xlarge", 3, 6, "NCv2", "trn1", 16, 2, 1, 32, 96, 1, 1},
    {"inf2", 4, 0, "NCv2", "inf2", 1, 2, 1, 32, 96, 1, 1},
    {"inf2.xlarge", 4, 0, "NCv2", "inf2", 1, 2, 1, 32, 96, 1, 1},
    {"inf2.8xlarge", 4, 4, "NCv2", "inf2", 1, 2, 1, 32, 96, 1, 1},
    {"inf2.24xlarge", 4, 5, "NCv2", "inf2", 6, 2, 1, 32, 96, 1, 1},
    {"inf2.48xlarge", 4, 7, "NCv2", "inf2", 12, 2, 1, 32, 96, 1, 1},
    {"trn2", 5, 8, "NCv3", "trn2", 1, 8, 2, 96, 96, 1, 2},
    {"trn2.3xlarge", 5, 8, "NCv3", "trn2", 1, 8, 2, 96, 96, 2, 2},
    {"trn2.48xlarge", 5, 7, "NCv3", "trn2", 16, 8, 2, 96, 96, 2, 2},
    {"trn2u.48xlarge", 9, 7, "NCv3", "trn2", 16, 8, 2, 96, 96, 2, 2},
    {"trn3", 14, 8, "NCv4", "trn3", 1, 8, 2, 144, 96, 1, 2},
    {"trn3.48xlarge", 14, 7, "NCv4", "trn3", 16, 8, 2, 144, 96, 2, 2},
};
// clang-format on

}  // namespace emulator
