// What the `tokenizers` library believes about a character. make_unicode_tables.py (tests/tokenizer) says how that was found out.
#pragma once

#include <cstdint>

namespace pets::tokenizer::unicode {

enum ClassBits : uint8_t {
  kDropped = 1,      ///< removed by clean_text: U+0000, U+FFFD, control, format and private use characters
  kSpace = 2,        ///< white space
  kMark = 4,         ///< non-spacing mark: removed by strip_accents
  kPunctuation = 8,  ///< a word of its own
  kConsult = 16      ///< may decompose, combine or have a lowercase
};

/// The ClassBits of a character.
uint8_t classify(char32_t code) noexcept;

/// A character's full canonical decomposition (itself where it has none), each part with its combining class.
struct Decomposition {
  char32_t code[4];
  uint8_t combining[4];
  uint32_t count;
};
void decompose(char32_t code, uint8_t classes, Decomposition& out) noexcept;

/// Lowercase as Rust's char::to_lowercase; writes one or two characters and returns how many.
uint32_t lowercase(char32_t code, uint8_t classes, char32_t out[2]) noexcept;

/// What the regular expression \w matches.
bool is_word(char32_t code) noexcept;

/// The ideographs that BERT sets spaces around.
inline bool is_chinese(char32_t c) noexcept {
  return c >= 0x3400 && ((c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x2A6DF) ||
                         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
                         (c >= 0x2F800 && c <= 0x2FA1F));
}

}  // namespace pets::tokenizer::unicode
