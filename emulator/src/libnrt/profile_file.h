// Files that appear complete or not at all.
#pragma once

#include <string>

namespace emulator::profile {

/// The file that will be written for `path`: links are followed. Throws
/// StatusError(NRT_FAILURE), saying why, if it could not be written.
std::string writable_path(const std::string& path);

/// Replaces the file's content in one step. Throws StatusError(NRT_FAILURE) if that
/// fails; a file that was there is then as it was. What is no ordinary file (a pipe, a
/// terminal) is written to as it is.
void write_file(const std::string& path, const std::string& content);

/// Gives the file of `path` the name `path`.json, too, unless the name ends so, or is a
/// file of somebody else's: one that does not begin as this one does. Viewers choose
/// files by that. Leaves it out where files cannot have two names.
void add_json_name(const std::string& path);

/// Makes a directory, and those above it. Throws StatusError(NRT_FAILURE).
void make_directories(const std::string& path);

}  // namespace emulator::profile
