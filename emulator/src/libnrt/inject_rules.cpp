#include "inject_rules.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>

#include "inject.h"
#include "status.h"

namespace emulator::inject {
namespace {

constexpr char kCompletion[] = ".completion";

[[noreturn]] void malformed(const std::string& rule, const std::string& reason) {
  throw StatusError(NRT_INVALID, "failure injection: '" + rule + "': " + reason +
                                     "; a rule is FUNCTION=STATUS[@WHEN], where WHEN "
                                     "is N, N+, %N or once");
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

/// A decimal number of at most 18 digits; false if `text` is none.
bool parse_number(const std::string& text, std::uint64_t* number) {
  if (text.empty() || text.size() > 18) return false;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  *number = value;
  return true;
}

/// Whether this library exports a function of that name.
bool is_exported(const std::string& function) {
  if (function.compare(0, 3, "nrt") != 0) return false;
  Dl_info self;
  if (!dladdr(reinterpret_cast<void*>(&is_exported), &self)) return false;
  void* const library = dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
  if (!library) return false;
  const bool found = dlsym(library, function.c_str()) != nullptr;
  dlclose(library);
  return found;
}

NRT_STATUS parse_status(const std::string& rule, const std::string& text) {
  std::uint64_t number = 0;
  NRT_STATUS status = NRT_SUCCESS;
  if (parse_number(text, &number)) {
    if (number < 1u << 16 && status_name(static_cast<int>(number))) {
      status = static_cast<NRT_STATUS>(number);
    }
  } else if (!status_from_name(text, &status)) {
    status_from_name("NRT_" + text, &status);
  }
  if (status == NRT_SUCCESS)
    malformed(rule, "'" + text + "' is no status of a failure");
  return status;
}

When parse_when(const std::string& rule, std::string text) {
  if (text == "once") return {When::Kind::at, 1};
  When when{When::Kind::at, 0};
  if (!text.empty() && text.front() == '%') {
    when.kind = When::Kind::every;
    text.erase(0, 1);
  } else if (!text.empty() && text.back() == '+') {
    when.kind = When::Kind::from;
    text.pop_back();
  }
  if (!parse_number(text, &when.number) || when.number == 0) {
    malformed(rule, "calls are counted from 1");
  }
  return when;
}

std::unique_ptr<Rule> parse_rule(const std::string& rule) {
  const std::size_t equals = rule.find('=');
  if (equals == std::string::npos) malformed(rule, "there is no '='");
  const std::string function = trimmed(rule.substr(0, equals));
  const std::size_t suffix = function.rfind(kCompletion);
  if (!is_exported(function.substr(0, suffix))) {
    malformed(rule, "there is no function '" + function + "'");
  }
  const std::string rest = rule.substr(equals + 1);
  const std::size_t at = rest.find('@');
  const NRT_STATUS status = parse_status(rule, trimmed(rest.substr(0, at)));
  When when;
  if (at != std::string::npos) when = parse_when(rule, trimmed(rest.substr(at + 1)));
  return std::make_unique<Rule>(function, status, when);
}

}  // namespace

bool When::applies(std::uint64_t call) const noexcept {
  switch (kind) {
    case Kind::always:
      return true;
    case Kind::at:
      return call == number;
    case Kind::from:
      return call >= number;
    case Kind::every:
      return call % number == 0;
  }
  return false;
}

Rules parse_rules(const std::string& text) {
  Rules rules;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find_first_of(";,", begin), text.size());
    const std::string rule = trimmed(text.substr(begin, end - begin));
    if (!rule.empty()) rules.push_back(parse_rule(rule));
    begin = end + 1;
  }
  return rules;
}

}  // namespace emulator::inject
