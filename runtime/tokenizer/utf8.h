// UTF-8: validation of what comes from outside, and unchecked decoding of what was validated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pets::tokenizer::utf8 {

inline constexpr size_t kValid = SIZE_MAX;

/// The byte offset of the first byte that begins no valid sequence (Unicode table 3-7: no surrogates, no overlong forms, at most
/// U+10FFFF), or kValid.
size_t find_invalid(std::string_view text) noexcept;

inline bool is_valid(std::string_view text) noexcept { return find_invalid(text) == kValid; }

inline bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// Decodes the character at `position` of valid UTF-8 and moves `position` behind it.
inline char32_t next(const char* text, uint32_t& position) noexcept {
  const auto byte = [&](uint32_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[position + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    position += 1;
    return lead;
  }
  if (lead < 0xE0) {
    const char32_t code = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
    position += 2;
    return code;
  }
  if (lead < 0xF0) {
    const char32_t code = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    position += 3;
    return code;
  }
  const char32_t code = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  position += 4;
  return code;
}

/// Writes `code` to `out`, which has room for 4 bytes; returns the bytes written.
inline uint32_t encode(char32_t code, char* out) noexcept {
  const auto put = [&](uint32_t i, char32_t value) { out[i] = static_cast<char>(static_cast<unsigned char>(value)); };
  if (code < 0x80) {
    put(0, code);
    return 1;
  }
  if (code < 0x800) {
    put(0, 0xC0 | code >> 6);
    put(1, 0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    put(0, 0xE0 | code >> 12);
    put(1, 0x80 | (code >> 6 & 0x3F));
    put(2, 0x80 | (code & 0x3F));
    return 3;
  }
  put(0, 0xF0 | code >> 18);
  put(1, 0x80 | (code >> 12 & 0x3F));
  put(2, 0x80 | (code >> 6 & 0x3F));
  put(3, 0x80 | (code & 0x3F));
  return 4;
}

}  // namespace pets::tokenizer::utf8
