#include "converter/utf8.h"

#include <cstdint>

#include "converter/message_text.h"

namespace pets::converter {
namespace {

/// Length of the valid sequence at the front of `text`, or 0.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const auto continues = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0U) == 0x80U; };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4 || !continues(1)) return 0;
  if (lead < 0xE0) return 2;
  const uint32_t second = byte(1);
  if (lead < 0xF0) {
    const bool out_of_range = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second >= 0xA0);
    return !out_of_range && continues(2) ? 3 : 0;
  }
  const bool out_of_range = (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second >= 0x90);
  return !out_of_range && continues(2) && continues(3) ? 4 : 0;
}

bool is_control(std::string_view sequence) {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  return sequence.size() == 2 && first == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

bool has_control_character(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence_length(text.substr(i));
    if (length == 0 || is_control(text.substr(i, length))) return true;
    i += length;
  }
  return false;
}

std::string in_quotes(std::string_view text) {
  std::string quoted = printable(text);
  quoted.insert(quoted.begin(), '`');
  quoted.push_back('`');
  return quoted;
}

}  // namespace pets::converter
