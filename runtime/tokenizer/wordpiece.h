// The WordPiece model of the `tokenizers` library (models/wordpiece): one word to its pieces, greedily the longest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/vocabulary.h"

namespace pets::tokenizer {

/// Where tokens go: the first `capacity` are stored, all are counted, and at `limit` the caller may stop.
class TokenSink {
 public:
  TokenSink(Token* tokens, uint64_t capacity, uint64_t limit, uint8_t segment) noexcept
      : tokens_(tokens), capacity_(capacity), limit_(limit), segment_(segment) {}

  void add(uint32_t id, uint32_t start, uint32_t end) noexcept {
    if (count_ < capacity_) tokens_[count_] = {static_cast<int32_t>(id), start, end, segment_, false};
    ++count_;
  }
  uint64_t count() const noexcept { return count_; }
  bool full() const noexcept { return count_ >= limit_; }
  /// Takes tokens back.
  void rewind(uint64_t count) noexcept { count_ = count; }

 private:
  Token* tokens_;
  uint64_t capacity_, limit_, count_ = 0;
  uint8_t segment_;
};

/// A word that is being read: its bytes, and for each byte the place in the original text. Lives in scratch.
class WordBuffer {
 public:
  static constexpr size_t bytes_needed(uint32_t max_characters, size_t prefix) noexcept {
    return 2 * size_t{4} * max_characters * sizeof(uint32_t) + prefix + size_t{4} * max_characters + 2 * alignof(uint32_t);
  }
  /// `scratch` has bytes_needed(max_characters, prefix).
  WordBuffer(std::span<std::byte> scratch, uint32_t max_characters, size_t prefix) noexcept;

  void append(char32_t code, uint32_t start, uint32_t end) noexcept;
  void append_ascii(uint8_t byte, uint32_t position) noexcept {
    if (characters_ == 0) first_start_ = position;
    last_end_ = position + 1;
    if (++characters_ > max_characters_) return;
    text_[length_] = static_cast<char>(byte);
    starts_[length_] = position;
    ends_[length_] = position + 1;
    ++length_;
  }
  void clear() noexcept {
    characters_ = 0;
    length_ = 0;
  }
  bool empty() const noexcept { return characters_ == 0; }
  bool too_long() const noexcept { return characters_ > max_characters_; }

 private:
  friend struct WordPieceModel;
  uint32_t* starts_;
  uint32_t* ends_;
  char* text_;  // room for the continuation prefix in front
  uint32_t max_characters_;
  uint32_t length_ = 0;      // bytes stored
  uint64_t characters_ = 0;  // also those beyond max_characters_, which are not stored
  uint32_t first_start_ = 0, last_end_ = 0;
};

/// Limits of a bundle: they bound the scratch that one word needs.
inline constexpr uint32_t kMaxCharactersPerWord = 1 << 16;
inline constexpr uint32_t kMaxPrefixBytes = 256;

struct WordPieceModel {
  Vocabulary vocabulary;
  std::string_view prefix;
  uint32_t unknown_id = 0;
  uint32_t max_characters = 0;

  /// Adds the word's tokens, or the unknown token for the whole of it, and clears it. An empty word adds nothing.
  void tokenize(WordBuffer& word, TokenSink& sink) const noexcept;

 private:
  bool split(WordBuffer& word, TokenSink& sink) const noexcept;
};

}  // namespace pets::tokenizer
