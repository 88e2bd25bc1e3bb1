// A tokenizer between its files and its tables: what tokenizer.json or vocab.txt say, before tokenizer_config.json has its word.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pets/status.h"
#include "runtime/tokenizer/tables.h"

namespace pets::converter {

struct TokenizerDraft {
  tokenizer::WordPieceTables tables;  // all but `vocabulary`; `added_tokens` as the library lists them
  std::map<std::string, uint32_t, std::less<>> vocabulary;
  bool has_normalizer = true;
  /// The normalizer that was set when the library took the added tokens in, where it is another than the tables' by now. The library
  /// does not normalize them anew, and so may never find some.
  std::optional<tokenizer::NormalizerOptions> added_normalizer;

  std::map<std::string, tokenizer::AddedToken> current;  // added tokens with the options that were given last, by content

  /// Adds a token as AddedVocabulary::add_tokens does: at its id in the vocabulary, else behind all ids. One that is there already takes
  /// the new options for what surrounds it; where it is looked for (`normalized`) a special token keeps, and another one has both ways.
  Status add(tokenizer::AddedToken token, const std::string& path);  // `path` serves for messages
  bool has(const tokenizer::AddedToken& token) const;                // with these options
  /// The id of an added token or of an entry.
  bool find(const std::string& content, uint32_t& id) const;
};

/// Reads tokenizer.json. Truncation and padding are ignored, as is the decoder.
Result<TokenizerDraft> read_tokenizer_json(const std::string& path);
/// Reads vocab.txt: one entry a line, its id the line's number. No special tokens yet.
Result<TokenizerDraft> read_vocabulary_text(const std::string& path);

}  // namespace pets::converter
