// The tokenizer's tables before they are written into a bundle: what the converter reads from tokenizer.json and vocab.txt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pets/status.h"
#include "runtime/tokenizer/normalizer.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer {

struct AddedToken {
  uint32_t id = 0;
  std::string content;
  bool special = false, normalized = false, lstrip = false, rstrip = false, single_word = false;
};

/// Everything that schema::WordPiece holds, owned. Ids that no token has are empty strings.
struct WordPieceTables {
  std::vector<std::string> vocabulary;
  uint32_t unknown_id = 0, class_id = 0, separator_id = 0;
  std::string continuation_prefix = "##";
  uint32_t max_characters_per_word = 100;
  bool clean_text = true, handle_chinese_characters = true, lowercase = true;
  schema::StripAccents strip_accents = schema::StripAccents::kAsLowercase;
  std::vector<AddedToken> added_tokens;  // as prepare_added_tokens leaves them
};

NormalizerOptions normalizer_options(const WordPieceTables& tables);
std::string normalize(std::string_view text, const NormalizerOptions& options);  // valid UTF-8

/// Brings added tokens, listed as the library found them, into the form that a bundle holds: the content of `normalized` tokens
/// normalized (it is searched in normalized text), sorted, and of two that then look alike only the one that the library would find (the
/// first, special ones before others). Call it once, when everything else is set. `options`: what they are normalized with, the tables' own
/// unless told. Refused: a token that normalizes to nothing.
Status prepare_added_tokens(WordPieceTables& tables);
Status prepare_added_tokens(WordPieceTables& tables, const NormalizerOptions& options);

/// The three arrays that go into the segment as tensors.
struct WordPieceArrays {
  std::vector<uint8_t> bytes;
  std::vector<uint32_t> offsets;  // entries + 1
  std::vector<uint32_t> slots;    // power of two, see bundle.fbs
};
WordPieceArrays build_arrays(const std::vector<std::string>& vocabulary);

}  // namespace pets::tokenizer
