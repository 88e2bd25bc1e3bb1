#include "runtime/platform/utf8.h"

#include <cstring>

namespace pets::utf8 {
namespace {

/// Bytes of the multi-byte sequence that starts at `p`, or 0 if it is not well formed.
size_t multibyte_length(const unsigned char* p, size_t available) noexcept {
  const unsigned char lead = p[0];
  size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // bounds of the second byte
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (available < length || p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

/// Of one well-formed sequence.
bool is_control(std::string_view sequence) noexcept {
  const auto first = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
  return sequence.size() == 2 && first == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;
}

}  // namespace

size_t sequence_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  return bytes[0] < 0x80 ? 1 : multibyte_length(bytes, text.size());
}

size_t find_invalid(std::string_view text) noexcept {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const size_t size = text.size();
  size_t i = 0;
  while (i < size) {
    if (bytes[i] < 0x80) {
      uint64_t word = 0;
      while (i + sizeof(word) <= size) {
        std::memcpy(&word, bytes + i, sizeof(word));
        if ((word & 0x8080808080808080u) != 0) break;
        i += sizeof(word);
      }
      while (i < size && bytes[i] < 0x80) ++i;
      continue;
    }
    const size_t length = multibyte_length(bytes + i, size - i);
    if (length == 0) return i;
    i += length;
  }
  return kValid;
}

bool has_control_character(std::string_view text) noexcept {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0 || is_control(text.substr(0, length))) return true;
    text.remove_prefix(length);
  }
  return false;
}

std::string printable(std::string_view text, size_t limit) {
  std::string result;
  while (!text.empty()) {
    if (result.size() >= limit) return result + "...";
    const size_t length = sequence_length(text);
    if (length == 0 || is_control(text.substr(0, length))) {
      result += '?';
      text.remove_prefix(length == 0 ? 1 : length);
    } else {
      result += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return result;
}

}  // namespace pets::utf8
