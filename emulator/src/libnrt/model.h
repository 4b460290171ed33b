// Models: a program loaded onto a core.
#pragma once

#include <cstdint>
#include <memory>

#include "engine.h"

namespace emulator {

/// A program on a core. Safe to use from many threads.
class Model {
 public:
  static constexpr unsigned kHandleTag = 0x13;
  static constexpr const char* kHandleName = "model";

  Model(std::uint32_t id, int core, std::unique_ptr<Program> program)
      : id_(id), core_(core), program_(std::move(program)) {}

  /// Counts from 1, unique in the process.
  std::uint32_t id() const noexcept { return id_; }
  int core() const noexcept { return core_; }
  Program& program() const noexcept { return *program_; }

 private:
  const std::uint32_t id_;
  const int core_;
  const std::unique_ptr<Program> program_;
};

}  // namespace emulator
