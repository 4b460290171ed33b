// JSON text, as far as libnrt and the engine exchange it: read into values, and strings
// written. Depth and size are bounded; malformed text is an error, never undefined.

#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator::json {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A value of any kind. The accessors throw Error for a value of another kind.
class Value {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Value> array;
  std::map<std::string, Value> object;

  // The member of an object; Error if there is none.
  const Value& at(const std::string& key) const;
  const std::string& as_string() const;
  const std::vector<Value>& as_array() const;
  // A whole number from 0 to 2^53.
  uint64_t as_count() const;

 private:
  const Value& expect(Kind wanted) const;
};

// Reads one value that takes up all of `text`.
Value parse(const std::string& text);

// `text` in quotation marks, escaped.
std::string quote(const std::string& text);

}  // namespace emulator::json
