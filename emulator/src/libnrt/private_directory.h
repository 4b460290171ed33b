// Directories that nobody but this user, and root, can have written into.
#pragma once

#include <string>

#include "descriptor.h"

namespace emulator {

/// A directory that is open, and was looked at then: whoever renames things meanwhile,
/// what was checked is what is used. Links are not followed; parents, such as /tmp, may
/// be anybody's, since what others put in its place is theirs or a link.
class PrivateDirectory {
 public:
  /// Opens it, made first, with those above it, if it is missing. Throws StatusError:
  /// NRT_FAILURE, with the owner, the permissions and the way out, if another user owns
  /// it or can write it.
  explicit PrivateDirectory(const std::string& path);

  /// The same for a directory in this one.
  PrivateDirectory below(const std::string& name) const;
  /// A file in it to lock, made if it is missing. Throws StatusError(NRT_FAILURE).
  Descriptor open_lock_file(const std::string& name) const;
  const std::string& path() const noexcept { return path_; }

 private:
  PrivateDirectory(const std::string& path, int above, const std::string& name);

  std::string path_;
  Descriptor descriptor_;
};

}  // namespace emulator
