// A tokenizer between its files and its tables: what tokenizer.json or vocab.txt say, before tokenizer_config.json has its word.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pets/status.h"
#include "runtime/tokenizer/tables.h"

namespace pets::converter {

struct TokenizerDraft {
  tokenizer::WordPieceTables tables;  // all but `vocabulary`; `added_tokens` as the library lists them
  std::map<std::string, uint32_t, std::less<>> vocabulary;
  bool has_normalizer = true;

  /// Adds a token as AddedVocabulary::add_tokens does: at its id in the vocabulary, else behind all ids. The id is returned; a token of
  /// this content that is there already keeps its own, and must have the same options. `path` serves for messages.
  Result<uint32_t> add(tokenizer::AddedToken token, const std::string& path);
  /// The id of an added token or of an entry.
  bool find(const std::string& content, uint32_t& id) const;
};

/// Reads tokenizer.json. Truncation and padding are ignored, as is the decoder.
Result<TokenizerDraft> read_tokenizer_json(const std::string& path);
/// Reads vocab.txt: one entry a line, its id the line's number. No special tokens yet.
Result<TokenizerDraft> read_vocabulary_text(const std::string& path);

}  // namespace pets::converter
