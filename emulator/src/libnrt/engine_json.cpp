#include "engine_json.h"

#include <cstdio>
#include <cstdlib>

namespace emulator::json {
namespace {

constexpr int kMaxDepth = 32;

class Parser {
 public:
  explicit Parser(const std::string& text)
      : p_(text.c_str()), end_(text.c_str() + text.size()) {}

  Value document() {
    Value value = read(0);
    skip_space();
    if (p_ != end_) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(std::string("malformed JSON: ") + what);
  }

  void skip_space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r'))
      ++p_;
  }

  // The next character that is not space, which stays to be read; 0 at the end.
  char peek() {
    skip_space();
    return p_ != end_ ? *p_ : '\0';
  }

  void take(char expected) {
    if (peek() != expected || p_ == end_) fail("another character was expected");
    ++p_;
  }

  bool take_if(char wanted) {
    if (peek() != wanted || p_ == end_) return false;
    ++p_;
    return true;
  }

  void take_word(const char* word) {
    for (; *word != '\0'; ++word, ++p_) {
      if (p_ == end_ || *p_ != *word) fail("unknown word");
    }
  }

  Value read(int depth) {
    if (depth > kMaxDepth) fail("nested too deeply");
    Value value;
    switch (peek()) {
      case '{':
        return read_object(depth);
      case '[':
        return read_array(depth);
      case '"':
        value.kind = Value::Kind::kString;
        value.string = read_string();
        return value;
      case 't':
      case 'f':
        value.kind = Value::Kind::kBool;
        value.boolean = *p_ == 't';
        take_word(value.boolean ? "true" : "false");
        return value;
      case 'n':
        take_word("null");
        return value;
      default:
        return read_number();
    }
  }

  Value read_object(int depth) {
    Value value;
    value.kind = Value::Kind::kObject;
    take('{');
    if (take_if('}')) return value;
    do {
      if (peek() != '"') fail("a member without a name");
      std::string key = read_string();
      take(':');
      value.object[std::move(key)] = read(depth + 1);
    } while (take_if(','));
    take('}');
    return value;
  }

  Value read_array(int depth) {
    Value value;
    value.kind = Value::Kind::kArray;
    take('[');
    if (take_if(']')) return value;
    do {
      value.array.push_back(read(depth + 1));
    } while (take_if(','));
    take(']');
    return value;
  }

  Value read_number() {
    Value value;
    value.kind = Value::Kind::kNumber;
    char* after = nullptr;
    value.number = strtod(p_, &after);  // the text ends in a null character
    if (after == p_ || after > end_) fail("neither a value nor a number");
    p_ = after;
    return value;
  }

  std::string read_string() {
    std::string result;
    take('"');
    while (p_ != end_ && *p_ != '"') {
      if (*p_ == '\\') {
        ++p_;
        append_escape(&result);
      } else {
        result += *p_++;
      }
    }
    if (p_ == end_) fail("a string without end");
    ++p_;
    return result;
  }

  void append_escape(std::string* result) {
    if (p_ == end_) fail("a string without end");
    char c = *p_++;
    switch (c) {
      case 'n':
        *result += '\n';
        return;
      case 't':
        *result += '\t';
        return;
      case 'r':
        *result += '\r';
        return;
      case 'b':
        *result += '\b';
        return;
      case 'f':
        *result += '\f';
        return;
      case 'u':
        append_code_point(read_code_unit(), result);
        return;
      case '"':
      case '\\':
      case '/':
        *result += c;
        return;
      default:
        fail("unknown escape");
    }
  }

  uint32_t read_code_unit() {
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i, ++p_) {
      if (p_ == end_) fail("a string without end");
      char c = *p_;
      uint32_t digit = c >= '0' && c <= '9'   ? c - '0'
                       : c >= 'a' && c <= 'f' ? c - 'a' + 10
                       : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                              : 16;
      if (digit == 16) fail("not a hexadecimal digit");
      unit = unit * 16 + digit;
    }
    return unit;
  }

  void append_code_point(uint32_t code, std::string* result) {
    if (code >= 0xD800 && code < 0xDC00 && end_ - p_ >= 6 && p_[0] == '\\' &&
        p_[1] == 'u') {
      p_ += 2;
      code = 0x10000 + ((code - 0xD800) << 10) + ((read_code_unit() - 0xDC00) & 0x3FF);
    }
    append_utf8(code, result);
  }

  static void append_utf8(uint32_t code, std::string* result) {
    if (code < 0x80) {
      *result += static_cast<char>(code);
      return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr uint32_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
    *result += static_cast<char>(kLead[more] | (code >> (6 * more)));
    while (more-- > 0)
      *result += static_cast<char>(0x80 | ((code >> (6 * more)) & 0x3F));
  }

  const char* p_;
  const char* end_;
};

}  // namespace

const Value& Value::expect(Kind wanted) const {
  if (kind != wanted) throw Error("a JSON value of another kind was expected");
  return *this;
}

const Value& Value::at(const std::string& key) const {
  const auto& members = expect(Kind::kObject).object;
  auto found = members.find(key);
  if (found == members.end()) throw Error("no member \"" + key + "\" in JSON");
  return found->second;
}

const std::string& Value::as_string() const { return expect(Kind::kString).string; }

const std::vector<Value>& Value::as_array() const { return expect(Kind::kArray).array; }

uint64_t Value::as_count() const {
  double n = expect(Kind::kNumber).number;
  if (!(n >= 0 && n <= 9007199254740992.0) || n != static_cast<double>(uint64_t(n))) {
    throw Error("a JSON number is no count");
  }
  return static_cast<uint64_t>(n);
}

Value parse(const std::string& text) { return Parser(text).document(); }

std::string quote(const std::string& text) {
  std::string result = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += static_cast<char>(c);
    } else if (c < 0x20) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", c);
      result += escape;
    } else {
      result += static_cast<char>(c);
    }
  }
  return result + '"';
}

}  // namespace emulator::json
