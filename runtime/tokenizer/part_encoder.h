// One text to its tokens: added tokens, normalizer, pre-tokenizer and model, a character at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/wordpiece.h"

namespace pets::tokenizer {

class PartEncoder {
 public:
  struct Tables {
    const WordPieceModel& model;
    const AddedTokens& added;
    const NormalizerOptions& normalizer;
    const AsciiTable& ascii;
  };
  /// `text` is valid UTF-8; `scratch` holds the word buffer.
  PartEncoder(const Tables& tables, std::string_view text, std::span<std::byte> scratch, TokenSink& sink) noexcept
      : tables_(tables), text_(text), sink_(sink), word_(scratch, tables.model.max_characters, tables.model.prefix.size()) {}

  /// Encodes the whole text, or until the sink is full.
  void run() noexcept;

 private:
  void encode_piece(uint32_t begin, uint32_t end) noexcept;
  void encode_ascii(NormalizedStream& stream) noexcept;
  void encode_piece_with_added_tokens(uint32_t begin, uint32_t end) noexcept;
  void take(const NormalizedCharacter& c) noexcept;
  void end_word() noexcept { tables_.model.tokenize(word_, sink_); }
  NormalizedStream stream(uint32_t begin, uint32_t end) const noexcept { return {text_.data(), begin, end, tables_.normalizer}; }

  bool is_single_word(uint32_t start, uint32_t end) const noexcept;
  uint32_t skip_raw_spaces_back(uint32_t from, uint32_t not_before) const noexcept;
  uint32_t skip_raw_spaces(uint32_t from) const noexcept;

  Tables tables_;
  std::string_view text_;
  TokenSink& sink_;
  WordBuffer word_;
};

}  // namespace pets::tokenizer
