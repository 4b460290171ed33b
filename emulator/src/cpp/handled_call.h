// The call of a program that a handler works for, which may be over before it is done.

#ifndef NKIPY_EMULATOR_HANDLED_CALL_H_
#define NKIPY_EMULATOR_HANDLED_CALL_H_

#include <stddef.h>
#include <stdint.h>

#include "custom_calls.h"
#include "work_sharing.h"
#include "xla/ffi/api/ffi.h"

namespace nkipy {

namespace ffi = xla::ffi;

inline ffi::Error no_memory() {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a kernel");
}

// Over is a call that has failed, has been left by its caller or has run out of time.
// That stays so: what was left undone for it is not taken for done.
class HandledCall {
 public:
  // With `words`, the last argument is the call vector (operands.h); else it is not
  // known what the call is.
  HandledCall(const ffi::RemainingArgs& args, ffi::Span<const int64_t> words) {
    if (words.size() == 0 || args.size() == 0) return;
    const ffi::AnyBuffer vector = *args.get<ffi::AnyBuffer>(args.size() - 1);
    if (!is_vector(vector)) return;
    state_ = replica_of(static_cast<const uint64_t*>(vector.untyped_data()))->call;
  }

  bool is_over() const {
    return state_ != nullptr && (state_->failed || state_->is_late());
  }

  // What the handler answers; without memory it has not `done` its work. Who is waited
  // for in a collective comes to its end, with whatever is in the result: nothing of it
  // is stored.
  ffi::Error outcome(bool done) const {
    if (!is_over()) return done ? ffi::Error::Success() : no_memory();
    if (!state_->failed) fail_call(state_, timeout_error, kTooLong);
    if (state_->is_awaited) return ffi::Error::Success();
    return ffi::Error(ffi::ErrorCode::kCancelled, "the call is over");
  }

 private:
  CallState* state_ = nullptr;
};

// The same, and as many threads as XLA has.
class Team final : public HandledCall {
 public:
  Team(const ffi::ThreadPool& pool, const ffi::RemainingArgs& args,
       ffi::Span<const int64_t> words)
      : HandledCall(args, words), threads_(threads_of(pool)) {}

  size_t threads() const { return threads_; }

 private:
  const size_t threads_;
};

// Shares as share_among does. False, too, if the call is over: then some pieces are
// left undone.
template <typename Function>
bool share_work(const Team& team, size_t pieces, const Function& function,
                bool are_short = false) {
  const auto unless_over = [&](size_t piece) {
    if (!team.is_over()) function(piece);
  };
  return share_among(team.threads(), pieces, unless_over, are_short) && !team.is_over();
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_HANDLED_CALL_H_
