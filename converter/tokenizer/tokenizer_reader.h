// Reads the tokenizer of a Hugging Face directory.
#pragma once

#include <cstdint>
#include <string>

#include "pets/status.h"
#include "runtime/tokenizer/tables.h"

namespace pets::converter {

struct HfTokenizer {
  tokenizer::WordPieceTables tables;
  uint64_t model_max_length = 0;  ///< from tokenizer_config.json; 0: none given, or the library's "very large" value
  std::string fingerprint_text;   ///< canonical text of everything that changes ids, for the base's fingerprint
};

/// The canonical text of tables, as `HfTokenizer::fingerprint_text` holds it.
std::string tokenizer_fingerprint_text(const tokenizer::WordPieceTables& tables);

/// Reads tokenizer.json (preferred), else vocab.txt with tokenizer_config.json, as AutoTokenizer's fast tokenizer does. Truncation and
/// padding stored in tokenizer.json are ignored. Anything that is not BERT WordPiece (another model, normalizer, pre-tokenizer or
/// post-processor, a key that changes ids and is not known) is refused by name.
Result<HfTokenizer> read_hf_tokenizer(const std::string& directory);

}  // namespace pets::converter
