// Looks for NaN in results: NEURON_FAIL_ON_NAN.
#pragma once

#include <cstddef>
#include <string>

namespace emulator {

/// Whether an array of `dtype` (NumPy's or ml_dtypes' name) has a NaN. False for
/// integers and types that are not known.
bool has_nan(const std::string& dtype, const std::byte* data, std::size_t bytes);

}  // namespace emulator
