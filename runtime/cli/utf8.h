// UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pets::cli {

/// Bytes of the well-formed sequence that `text` starts with (1 to 4), or 0 where it starts with none.
constexpr std::size_t utf8_sequence_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [byte](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return continues(1) ? 2 : 0;
  if (lead < 0xF0) {
    const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && continues(2) ? 3 : 0;
  }
  if (lead > 0xF4) return 0;
  const uint8_t low = lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xF4 ? 0x8F : 0xBF;
  return byte(1) >= low && byte(1) <= high && continues(2) && continues(3) ? 4 : 0;
}

/// The start of `text`, at most `bytes` long, that ends between two sequences.
constexpr std::string_view utf8_prefix(std::string_view text, std::size_t bytes) noexcept {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<uint8_t>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

/// Turns byte offsets of one text into code point offsets. Cheap where they are asked for in ascending order.
class CodePointCounter {
 public:
  explicit constexpr CodePointCounter(std::string_view text) noexcept : text_(text) {}

  /// Code points before `byte`, which may be past the end.
  constexpr uint32_t before(std::size_t byte) noexcept {
    if (byte > text_.size()) byte = text_.size();
    if (byte < byte_) byte_ = count_ = 0;
    for (; byte_ < byte; ++byte_) count_ += (static_cast<uint8_t>(text_[byte_]) & 0xC0) != 0x80;
    return count_;
  }

 private:
  std::string_view text_;
  std::size_t byte_ = 0;
  uint32_t count_ = 0;
};

}  // namespace pets::cli
