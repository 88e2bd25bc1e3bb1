#include "converter/tokenizer/tokenizer_reader.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "converter/files/message_text.h"
#include "converter/tokenizer/tokenizer_config.h"
#include "converter/tokenizer/tokenizer_draft.h"
#include "runtime/platform/check.h"
#include "runtime/tokenizer/vocabulary.h"

namespace pets::converter {

// Everything that changes ids, each value with its length or a separator that it cannot hold.
std::string tokenizer_fingerprint_text(const tokenizer::WordPieceTables& tables) {
  const auto text = [](const std::string& value) { return std::to_string(value.size()) + ":" + value; };
  const auto flags = [](std::initializer_list<bool> values) {
    std::string out;
    for (const bool value : values) out += value ? '1' : '0';
    return out;
  };
  std::string out = "wordpiece 1\n";
  out +=
      "ids " + std::to_string(tables.unknown_id) + " " + std::to_string(tables.class_id) + " " + std::to_string(tables.separator_id) + "\n";
  out += "prefix " + text(tables.continuation_prefix) + "\ncharacters " + std::to_string(tables.max_characters_per_word) + "\n";
  const tokenizer::NormalizerOptions options = tokenizer::normalizer_options(tables);
  out += "normalizer " + flags({options.clean_text, options.handle_chinese_characters, options.lowercase, options.strip_accents}) + "\n";
  for (const auto& token : tables.added_tokens) {
    out += "added " + std::to_string(token.id) + " " + flags({token.normalized, token.lstrip, token.rstrip, token.single_word}) + " " +
           text(token.content) + "\n";
  }
  for (const std::string& entry : tables.vocabulary) out += text(entry) + "\n";
  return out;
}

namespace {

Status finish(TokenizerDraft&& draft, HfTokenizer& out) {
  tokenizer::WordPieceTables& tables = out.tables;
  tables = std::move(draft.tables);
  uint32_t entries = 0;
  for (const auto& [entry, id] : draft.vocabulary) entries = std::max(entries, id + 1);
  tables.vocabulary.resize(entries);
  for (const auto& [entry, id] : draft.vocabulary) {
    if (entry.size() > tokenizer::kMaxEntryBytes) {
      return Status::error(ErrorCode::kUnsupported, "vocabulary: entry %u has %zu bytes, at most %u are supported", id, entry.size(),
                           tokenizer::kMaxEntryBytes);
    }
    tables.vocabulary[id] = entry;
  }
  PETS_RETURN_IF_ERROR(tokenizer::prepare_added_tokens(tables, draft.added_normalizer.value_or(tokenizer::normalizer_options(tables))));
  out.fingerprint_text = tokenizer_fingerprint_text(tables);
  return Status::ok();
}

Result<HfTokenizer> read(const std::string& directory) {
  const std::string json = join_path(directory, "tokenizer.json"), text = join_path(directory, "vocab.txt");
  const bool from_vocabulary = !is_file(json);
  if (from_vocabulary && !is_file(text)) {
    return Status::error(ErrorCode::kNotFound, "%s: neither tokenizer.json nor vocab.txt", directory.c_str());
  }
  PETS_ASSIGN_OR_RETURN(TokenizerDraft draft, from_vocabulary ? read_vocabulary_text(text) : read_tokenizer_json(json));
  HfTokenizer out;
  PETS_RETURN_IF_ERROR(apply_tokenizer_config(directory, from_vocabulary, draft, out.model_max_length));
  PETS_RETURN_IF_ERROR(finish(std::move(draft), out));
  return out;
}

}  // namespace

Result<HfTokenizer> read_hf_tokenizer(const std::string& directory) {
  try {
    return read(directory);
  } catch (const std::exception& error) {  // out of memory, or a mistake of ours in reading JSON
    return Status::error(ErrorCode::kInternal, "%s: reading the tokenizer failed: %s", directory.c_str(), error.what());
  }
}

}  // namespace pets::converter
