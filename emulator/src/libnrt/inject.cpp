#include "inject.h"

#include <memory>
#include <mutex>

#include "api.h"
#include "env.h"
#include "inject_rules.h"

namespace emulator {
namespace inject {
namespace {

constexpr char kVariable[] = "NKIPY_EMULATOR_INJECT";

/// The rules in force. Never destroyed: calls during exit may ask.
struct Active {
  std::mutex mutex;
  std::shared_ptr<const Rules> rules = std::make_shared<Rules>();
  std::string environment;  // the text of the environment that was taken last
};

Active& active() {
  static Active* const instance = new Active;
  return *instance;
}

/// With the lock held.
void replace(Active& current, Rules rules) {
  const State next = rules.empty() ? State::idle : State::armed;
  current.rules = std::make_shared<const Rules>(std::move(rules));
  state.store(next);
}

/// All rules for the function count the call; the first that applies decides.
NRT_STATUS apply_rules(const Rules& rules, const std::string& function) {
  NRT_STATUS failure = NRT_SUCCESS;
  for (const auto& rule : rules) {
    if (rule->function() != function || !rule->count_call()) continue;
    if (failure == NRT_SUCCESS) failure = rule->status();
  }
  return failure;
}

}  // namespace

void load_environment() {
  const std::string text = env_text(kVariable).value_or("");
  Active& current = active();
  std::lock_guard<std::mutex> lock(current.mutex);
  if (text == current.environment) {
    if (state.load() == State::unread) state.store(State::idle);
    return;
  }
  replace(current, parse_rules(text));
  current.environment = text;
}

void set_rules(const std::string& text) {
  Rules rules = parse_rules(text);
  Active& current = active();
  std::lock_guard<std::mutex> lock(current.mutex);
  replace(current, std::move(rules));
}

NRT_STATUS find_failure(const char* function) noexcept try {
  // Functions that may be called before nrt_init obey rules too; that there is
  // something wrong with these is for nrt_init to say.
  if (state.load() == State::unread) load_environment();
  Active& current = active();
  std::shared_ptr<const Rules> rules;
  {
    std::lock_guard<std::mutex> lock(current.mutex);
    rules = current.rules;
  }
  const NRT_STATUS failure = apply_rules(*rules, function);
  if (failure != NRT_SUCCESS) {
    EMULATOR_LOG(nrt, warning, function, "fails with %s, as injected",
                 status_name(failure));
  }
  return failure;
} catch (...) {
  return NRT_SUCCESS;
}

}  // namespace inject
}  // namespace emulator

/// Replaces the rules of failure injection; NULL or "" removes them. NRT_INVALID, and
/// nothing changes, if they are malformed. The emulator only.
NRT_API NRT_STATUS nkipy_emulator_inject(const char* rules) {
  try {
    emulator::inject::set_rules(rules ? rules : "");
    return NRT_SUCCESS;
  } catch (...) {
    return emulator::status_of_current_exception("nkipy_emulator_inject");
  }
}
