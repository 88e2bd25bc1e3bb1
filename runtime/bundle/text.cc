#include "runtime/bundle/text.h"

#include <algorithm>
#include <cstdint>

namespace pets::bundle {
namespace {

/// Bytes of the well-formed character at `text`, 0 where there is none (Unicode 15, table 3-7).
size_t character_length(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto between = [&](size_t i, uint8_t low, uint8_t high) { return byte(i) >= low && byte(i) <= high; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return between(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : 0xBF;
    return between(1, low, high) && between(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint8_t low = first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
    return between(1, low, high) && between(2, 0x80, 0xBF) && between(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

bool is_control(uint8_t byte) noexcept { return byte < 0x20 || byte == 0x7F; }

}  // namespace

bool is_valid_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool is_valid_task_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes || !is_valid_utf8(name)) return false;
  return std::none_of(name.begin(), name.end(), [](char c) { return is_control(static_cast<uint8_t>(c)); });
}

bool is_valid_fingerprint(std::string_view text) noexcept {
  return text.size() == 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string printable(std::string_view text) {
  constexpr size_t kMaxPrinted = 80;
  std::string result;
  while (!text.empty()) {
    if (result.size() >= kMaxPrinted) return result + "...";
    const size_t length = character_length(text);
    if (length == 0 || is_control(static_cast<uint8_t>(text[0]))) {
      result += '?';
      text.remove_prefix(1);
    } else {
      result += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return result;
}

}  // namespace pets::bundle
