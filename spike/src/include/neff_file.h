// The file that a NEFF is in.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace spike {

/// Its bytes, not zeroed before as a vector's would be, and how many. It is opened at
/// once, and looked at then: its name may come to be another file's in between.
/// Throws NeffFileError if it cannot be read, or is not a regular file.
std::pair<std::unique_ptr<char[]>, size_t> read_neff(const std::string& path);

}  // namespace spike
