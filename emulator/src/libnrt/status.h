// Statuses as exceptions: how a failure deep inside reaches the entry point.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "nrt/nrt_status.h"

namespace emulator {

/// A failure with the status that the entry point returns. The text is logged there.
class StatusError : public std::runtime_error {
 public:
  StatusError(NRT_STATUS status, const std::string& message)
      : std::runtime_error(message), status_(status) {}

  NRT_STATUS status() const noexcept { return status_; }

 private:
  NRT_STATUS status_;
};

/// The call was left for what a handler of a signal has raised: a strong PyObject*.
class Interrupted : public StatusError {
 public:
  Interrupted(NRT_STATUS status, const std::string& message,
              std::shared_ptr<void> exception)
      : StatusError(status, message), exception_(std::move(exception)) {}

  const std::shared_ptr<void>& exception() const noexcept { return exception_; }

 private:
  std::shared_ptr<void> exception_;
};

/// The name of a status ("NRT_INVALID"), or nullptr for a number that is none.
const char* status_name(int status) noexcept;

/// The status with this name. Returns false, and leaves `status`, if there is none.
bool status_from_name(const std::string& name, NRT_STATUS* status) noexcept;

/// Throws StatusError(NRT_INVALID) with `message` unless `condition` holds.
void require(bool condition, const char* message);

}  // namespace emulator
