// What the tokenizer produces.
#pragma once

#include <cstdint>

namespace pets::tokenizer {

/// One token of an encoded query, in order: [CLS] a... [SEP] (b... [SEP]).
struct Token {
  int32_t id = 0;
  uint32_t start = 0;  ///< bytes of its own text (`text` or `text_pair`), UTF-8; [start, end). Special tokens: 0, 0
  uint32_t end = 0;
  uint8_t segment = 0;   ///< 0: text, 1: text_pair; also the token type id
  bool special = false;  ///< [CLS] and [SEP] that the template put there (a "[SEP]" found in the text is not special here)
};

}  // namespace pets::tokenizer
