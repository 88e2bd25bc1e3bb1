#include "runtime/cli/json_scanner.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "runtime/platform/utf8.h"

namespace pets::cli {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string describe_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F ? fmt::format("'{}'", c) : fmt::format("byte 0x{:02x}", byte);
}

}  // namespace

std::string_view json_kind_name(JsonKind kind) noexcept {
  switch (kind) {
    case JsonKind::kObject:
      return "an object";
    case JsonKind::kArray:
      return "an array";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kNumber:
      return "a number";
    case JsonKind::kTrue:
      return "true";
    case JsonKind::kFalse:
      return "false";
    case JsonKind::kNull:
      return "null";
    case JsonKind::kInvalid:
      break;
  }
  return "no JSON value";
}

void JsonScanner::skip_space() noexcept {
  while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
}

void JsonScanner::content_error(std::string message) {
  if (errors_++ == 0) error_ = std::move(message);
}

bool JsonScanner::syntax_error(const char* expected) {
  content_error(at_ < end_ ? fmt::format("invalid JSON at byte {}: expected {}, found {}", offset(), expected, describe_byte(*at_))
                           : fmt::format("invalid JSON at byte {}: expected {}, found the end of the line", offset(), expected));
  stopped_ = true;
  return false;
}

JsonKind JsonScanner::peek() noexcept {
  skip_space();
  if (stopped_ || at_ == end_) return JsonKind::kInvalid;
  switch (*at_) {
    case '{':
      return JsonKind::kObject;
    case '[':
      return JsonKind::kArray;
    case '"':
      return JsonKind::kString;
    case 't':
      return JsonKind::kTrue;
    case 'f':
      return JsonKind::kFalse;
    case 'n':
      return JsonKind::kNull;
    default:
      return *at_ == '-' || is_digit(*at_) ? JsonKind::kNumber : JsonKind::kInvalid;
  }
}

bool JsonScanner::accept(char character) noexcept {
  skip_space();
  if (stopped_ || at_ == end_ || *at_ != character) return false;
  ++at_;
  return true;
}

bool JsonScanner::expect(char character, const char* what) { return accept(character) || (!stopped_ && syntax_error(what)); }

bool JsonScanner::at_boundary() const noexcept {
  return at_ == end_ || std::string_view(",]} \t\r\n").find(*at_) != std::string_view::npos;
}

bool JsonScanner::expect_end() {
  skip_space();
  return !stopped_ && (at_ == end_ || syntax_error("the end of the line"));
}

bool JsonScanner::read_string(std::string_view name, std::string_view& value) {
  skip_space();
  return !stopped_ && scan_string(name, true, value);
}

bool JsonScanner::scan_string(std::string_view name, bool decode, std::string_view& value) {
  if (at_ == end_ || *at_ != '"') return syntax_error("a string");
  char* const start = ++at_;
  char* out = start;
  while (true) {
    const char* const run = at_;
    while (at_ < end_ && static_cast<unsigned char>(*at_) >= 0x20 && static_cast<unsigned char>(*at_) < 0x80 && *at_ != '"' && *at_ != '\\')
      ++at_;
    const auto length = static_cast<std::size_t>(at_ - run);
    if (decode && out != run) std::memmove(out, run, length);
    out += length;
    if (at_ == end_) return syntax_error("the closing quote of a string");
    if (*at_ == '"') break;
    if (*at_ == '\\') {
      if (!scan_escape(name, out, decode)) return false;
    } else if (static_cast<unsigned char>(*at_) < 0x20) {
      return syntax_error("an escape in place of a control character");
    } else {
      std::size_t bytes = utf8::sequence_length({at_, static_cast<std::size_t>(end_ - at_)});
      if (bytes == 0) {
        content_error(decode ? fmt::format("invalid UTF-8 in {} at byte {} (byte {} of the line)", name, out - start, offset())
                             : fmt::format("invalid UTF-8 in {} at byte {} of the line", name, offset()));
        bytes = 1;
      }
      for (std::size_t i = 0; i < bytes; ++i, ++at_, ++out) {
        if (decode) *out = *at_;
      }
    }
  }
  value = {start, static_cast<std::size_t>((decode ? out : at_) - start)};
  ++at_;
  return true;
}

// Decodes one escape at `at_`. Where nothing is decoded `out` moves all the same, which is harmless: nothing is stored through it.
bool JsonScanner::scan_escape(std::string_view name, char*& out, bool decode) {
  const std::size_t start = offset();
  ++at_;
  unsigned code = 0;
  switch (at_ < end_ ? *at_ : '\0') {
    case '"':
      code = '"';
      break;
    case '\\':
      code = '\\';
      break;
    case '/':
      code = '/';
      break;
    case 'b':
      code = '\b';
      break;
    case 'f':
      code = '\f';
      break;
    case 'n':
      code = '\n';
      break;
    case 'r':
      code = '\r';
      break;
    case 't':
      code = '\t';
      break;
    case 'u': {
      ++at_;
      if (!scan_hex(code)) return false;
      if (code >= 0xD800 && code < 0xDC00 && end_ - at_ >= 2 && at_[0] == '\\' && at_[1] == 'u') {
        char* const second = at_;
        unsigned low = 0;
        at_ += 2;
        if (!scan_hex(low)) return false;
        if (low >= 0xDC00 && low < 0xE000) {
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else {
          at_ = second;
        }
      }
      // Where the value is only passed on (an id), a lone surrogate's escape is as good as any: it is valid JSON and stays one.
      if (decode && code >= 0xD800 && code < 0xE000) {
        content_error(fmt::format("lone surrogate \\u{:04x} in {} at byte {} of the line", code, name, start));
        code = 0xFFFD;
      }
      if (decode) out += utf8::encode(code, out);
      return true;
    }
    default:
      return syntax_error("one of \"\\/bfnrtu after a backslash");
  }
  ++at_;
  if (decode) out += utf8::encode(code, out);
  return true;
}

bool JsonScanner::scan_hex(unsigned& unit) {
  unit = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < end_ ? *at_ : '\0';
    unsigned digit = 0;
    if (is_digit(c)) {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<unsigned>(c - 'A') + 10;
    } else {
      return syntax_error("a hexadecimal digit");
    }
    unit = unit * 16 + digit;
  }
  return true;
}

bool JsonScanner::read_number(std::string_view& raw) {
  skip_space();
  if (stopped_) return false;
  const char* const start = at_;
  const auto digits = [this] {
    const char* const first = at_;
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return at_ != first;
  };
  if (at_ < end_ && *at_ == '-') ++at_;
  if (at_ < end_ && *at_ == '0') {
    ++at_;
  } else if (!digits()) {
    return syntax_error("a digit");
  }
  if (at_ < end_ && *at_ == '.') {
    ++at_;
    if (!digits()) return syntax_error("a digit");
  }
  if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits()) return syntax_error("a digit");
  }
  raw = {start, static_cast<std::size_t>(at_ - start)};
  return true;
}

bool JsonScanner::literal(std::string_view word) {
  if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, word.size()) != word) return syntax_error("a JSON value");
  at_ += word.size();
  return true;
}

bool JsonScanner::scan_scalar(std::string_view name) {
  std::string_view ignored;
  switch (peek()) {
    case JsonKind::kString:
      return scan_string(name, false, ignored);
    case JsonKind::kNumber:
      return read_number(ignored);
    case JsonKind::kTrue:
      return literal("true");
    case JsonKind::kFalse:
      return literal("false");
    case JsonKind::kNull:
      return literal("null");
    default:
      return !stopped_ && syntax_error("a JSON value");
  }
}

bool JsonScanner::read_raw(std::string_view name, std::string_view& raw) {
  skip_space();
  if (stopped_) return false;
  const char* const start = at_;
  open_objects_.clear();
  const auto scan_key = [&] {
    std::string_view ignored;
    skip_space();
    return scan_string(name, false, ignored) && expect(':', "':'");
  };
  // Each turn scans one value; containers are opened here and closed below, as far as they end.
  do {
    if (accept('{')) {
      if (!accept('}')) {
        open_objects_.push_back(true);
        if (!scan_key()) return false;
        continue;
      }
    } else if (accept('[')) {
      if (!accept(']')) {
        open_objects_.push_back(false);
        continue;
      }
    } else if (!scan_scalar(name)) {
      return false;
    }
    while (!open_objects_.empty()) {
      const bool object = open_objects_.back();
      if (accept(',')) {
        if (object && !scan_key()) return false;
        break;
      }
      if (!expect(object ? '}' : ']', object ? "',' or '}'" : "',' or ']'")) return false;
      open_objects_.pop_back();
    }
  } while (!open_objects_.empty());
  raw = {start, static_cast<std::size_t>(at_ - start)};
  return true;
}

}  // namespace pets::cli
