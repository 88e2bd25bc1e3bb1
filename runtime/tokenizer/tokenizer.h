// Text to token ids, exactly as the `tokenizers` library's BERT pipeline does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "pets/status.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/wordpiece.h"

namespace pets::schema {
struct WordPiece;
}

namespace pets::tokenizer {

struct Encoding {
  uint32_t count = 0;      ///< tokens written
  bool truncated = false;  ///< something of the text was cut to meet max_length
};

/// A view of a bundle's WordPiece tables: cheap to copy, no memory of its own, thread-safe. Mapped pages are the tables.
class WordPieceTokenizer {
 public:
  WordPieceTokenizer() = default;

  /// Checks the tables completely (offsets, slots, UTF-8, id ranges, special ids) so that `encode` needs no checks.
  /// `segment` are the bytes of the segment that holds the tensors; both must outlive the tokenizer. `vocabulary`: rows of the word
  /// embeddings; every id must be below it. Errors name the table and what is wrong.
  static Result<WordPieceTokenizer> create(const schema::WordPiece& tables, std::span<const std::byte> segment,
                                           uint32_t vocabulary) noexcept;

  /// Bytes of scratch that `encode` needs, any alignment handled inside.
  size_t scratch_bytes() const noexcept;

  /// Encodes `text`, or the pair (`text`, `pair`) where `has_pair`, cut to at most `max_length` tokens, special ones included,
  /// longest first as tokenizers' truncation does. Writes at most min(max_length, tokens.size()) tokens; tokens.size() >= max_length.
  /// Errors: invalid UTF-8 (names the byte offset and which text), max_length too small for the special tokens.
  /// No allocation. Time linear in the text's length (hostile text included).
  Result<Encoding> encode(std::string_view text, std::string_view pair, bool has_pair, uint32_t max_length, std::span<Token> tokens,
                          std::span<std::byte> scratch) const noexcept;

  /// Tokens that the template adds: 2 for one text, 3 for a pair.
  static constexpr uint32_t special_count(bool has_pair) { return has_pair ? 3 : 2; }
  /// True for the tokens that the template adds: [CLS] and [SEP].
  bool is_special(int32_t id) const noexcept { return id == static_cast<int32_t>(class_id_) || id == static_cast<int32_t>(separator_id_); }

 private:
  uint64_t encode_part(std::string_view text, uint8_t segment, Token* tokens, uint64_t capacity, uint64_t limit,
                       std::span<std::byte> scratch) const noexcept;
  Encoding encode_single(std::string_view text, uint32_t room, Token* tokens, std::span<std::byte> scratch) const noexcept;
  Encoding encode_pair(std::string_view text, std::string_view pair, uint32_t room, Token* tokens,
                       std::span<std::byte> scratch) const noexcept;
  Token special(uint32_t id, uint8_t segment) const noexcept { return {static_cast<int32_t>(id), 0, 0, segment, true}; }

  WordPieceModel model_;
  AddedTokens added_;
  NormalizerOptions normalizer_;
  AsciiTable ascii_{};
  uint32_t class_id_ = 0, separator_id_ = 0;
};

}  // namespace pets::tokenizer
