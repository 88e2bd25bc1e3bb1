// BertNormalizer of the `tokenizers` library (normalizers/bert.rs), one character at a time.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/tokenizer/combining_run.h"
#include "runtime/tokenizer/unicode.h"

namespace pets::tokenizer {

struct NormalizerOptions {
  bool clean_text = true, handle_chinese_characters = true, strip_accents = true, lowercase = true;
};

/// A character of the normalized text and the bytes of the original text that it stands for.
struct NormalizedCharacter {
  char32_t code;
  uint32_t start, end;
  uint8_t classes;  ///< unicode::ClassBits of `code`
};

/// What an ASCII byte becomes: itself or its lowercase below 0x80, else one of these.
enum AsciiAction : uint8_t { kAsciiSpace = 0x80, kAsciiPunctuation = 0x81, kAsciiDropped = 0x82 };
using AsciiTable = std::array<uint8_t, 128>;
AsciiTable make_ascii_table(const NormalizerOptions& options) noexcept;

/// The normalized form of text[begin, end), which must be valid UTF-8. No memory of its own; a copy is an independent lookahead.
/// Steps in the library's order: clean_text, spaces around ideographs, NFD without non-spacing marks, lowercase.
class NormalizedStream {
 public:
  NormalizedStream(const char* text, uint32_t begin, uint32_t end, const NormalizerOptions& options) noexcept
      : text_(text), position_(begin), end_(end), sequence_begin_(begin), options_(options) {}

  bool next(NormalizedCharacter& out) noexcept {
    while (queue_head_ == queue_size_) {
      if (!refill()) return false;
    }
    out = queue_[queue_head_++];
    return true;
  }

  /// For callers with an ASCII fast path: whether the next character is the byte at position(), and nothing is pending.
  bool at_ascii() const noexcept {
    return queue_head_ == queue_size_ && !run_.active() && position_ < end_ && static_cast<unsigned char>(text_[position_]) < 0x80;
  }
  uint32_t position() const noexcept { return position_; }
  uint32_t end() const noexcept { return end_; }
  /// Moves to `position`; everything between was ASCII, and `last_kept` is the last of it that clean_text did not drop.
  void skip_ascii(uint32_t position, uint32_t last_kept) noexcept {
    position_ = position;
    sequence_begin_ = last_kept;
  }
  uint32_t sequence_begin() const noexcept { return sequence_begin_; }

 private:
  bool refill() noexcept;
  void push(char32_t code, uint8_t classes, uint32_t start, uint32_t end) noexcept;
  void push_lowercase(char32_t code, uint8_t classes, uint32_t start, uint32_t end) noexcept;
  void push_decomposed(char32_t code, uint8_t classes, uint32_t start) noexcept;
  uint32_t find_sequence_end() const noexcept;

  const char* text_;
  uint32_t position_, end_;
  uint32_t sequence_begin_;  // the last starter: combining marks are ordered from here on
  NormalizerOptions options_;
  uint32_t queue_head_ = 0, queue_size_ = 0;
  NormalizedCharacter queue_[8] = {};
  CombiningRun run_;
};

}  // namespace pets::tokenizer
