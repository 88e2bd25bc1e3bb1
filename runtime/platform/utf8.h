// UTF-8 as RFC 3629 and Unicode table 3-7 define it (no surrogates, no overlong forms, nothing above U+10FFFF): the one place where
// text from outside is validated, decoded, counted and made fit for messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pets::utf8 {

inline constexpr size_t kValid = SIZE_MAX;

inline bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// Bytes of the well-formed sequence that `text` starts with (1 to 4), or 0 where it starts with none.
size_t sequence_length(std::string_view text) noexcept;

/// The byte offset of the first byte that begins no well-formed sequence, or kValid.
size_t find_invalid(std::string_view text) noexcept;

inline bool is_valid(std::string_view text) noexcept { return find_invalid(text) == kValid; }

/// True if `text` is not UTF-8 or holds a control character (U+0000 to U+001F, U+007F to U+009F).
bool has_control_character(std::string_view text) noexcept;

/// `text` for a one-line message: control characters and invalid bytes become '?', what is longer than about `limit` bytes is cut.
std::string printable(std::string_view text, size_t limit = 100);

/// The start of `text`, at most `bytes` long, that ends between two sequences.
inline std::string_view prefix(std::string_view text, size_t bytes) noexcept {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && is_continuation(text[bytes])) --bytes;
  return text.substr(0, bytes);
}

/// Turns byte offsets of one text into code point offsets. Cheap where they are asked for in ascending order.
class CodePointCounter {
 public:
  explicit CodePointCounter(std::string_view text) noexcept : text_(text) {}

  /// Code points before `byte`, which may be past the end.
  uint32_t before(size_t byte) noexcept {
    if (byte > text_.size()) byte = text_.size();
    if (byte < byte_) byte_ = count_ = 0;
    for (; byte_ < byte; ++byte_) count_ += is_continuation(text_[byte_]) ? 0 : 1;
    return count_;
  }

 private:
  std::string_view text_;
  size_t byte_ = 0;
  uint32_t count_ = 0;
};

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

}  // namespace pets::utf8
