#include "runtime/tokenizer/tables.h"

#include <algorithm>
#include <bit>
#include <map>
#include <tuple>
#include <utility>

#include "runtime/platform/utf8.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/vocabulary.h"

namespace pets::tokenizer {

WordPieceArrays build_arrays(const std::vector<std::string>& vocabulary) {
  WordPieceArrays arrays;
  arrays.offsets.reserve(vocabulary.size() + 1);
  arrays.offsets.push_back(0);
  for (const std::string& entry : vocabulary) {
    arrays.bytes.insert(arrays.bytes.end(), entry.begin(), entry.end());
    arrays.offsets.push_back(static_cast<uint32_t>(arrays.bytes.size()));
  }
  arrays.slots.assign(std::bit_ceil(std::max<size_t>(vocabulary.size() * 2, 2)), 0);
  const size_t mask = arrays.slots.size() - 1;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary[id].empty()) continue;
    size_t slot = static_cast<uint32_t>(hash_entry(vocabulary[id])) & mask;
    while (arrays.slots[slot] != 0) slot = (slot + 1) & mask;
    arrays.slots[slot] = static_cast<uint32_t>(id + 1);
  }
  return arrays;
}

NormalizerOptions normalizer_options(const WordPieceTables& tables) {
  const bool strip =
      tables.strip_accents == schema::StripAccents::kAsLowercase ? tables.lowercase : tables.strip_accents == schema::StripAccents::kYes;
  return {tables.clean_text, tables.handle_chinese_characters, strip, tables.lowercase};
}

std::string normalize(std::string_view text, const NormalizerOptions& options) {
  std::string out;
  NormalizedStream stream(text.data(), 0, static_cast<uint32_t>(text.size()), options);
  NormalizedCharacter c{};
  while (stream.next(c)) {
    char bytes[4];
    out.append(bytes, utf8::encode(c.code, bytes));
  }
  return out;
}

Status prepare_added_tokens(WordPieceTables& tables) { return prepare_added_tokens(tables, normalizer_options(tables)); }

Status prepare_added_tokens(WordPieceTables& tables, const NormalizerOptions& options) {
  std::stable_partition(tables.added_tokens.begin(), tables.added_tokens.end(), [](const AddedToken& token) { return token.special; });
  std::map<std::pair<bool, std::string>, AddedToken> sorted;
  for (AddedToken token : tables.added_tokens) {
    const std::string given = token.content;
    if (!utf8::is_valid(given)) return Status::error(ErrorCode::kInvalidArgument, "tokenizer: an added token is not UTF-8");
    if (token.normalized) token.content = normalize(given, options);
    if (token.content.empty()) {
      return Status::error(ErrorCode::kUnsupported, "tokenizer: added token \"%s\" (id %u) normalizes to nothing", given.c_str(), token.id);
    }
    if (token.content.size() > kMaxAddedTokenBytes) {
      return Status::error(ErrorCode::kUnsupported, "tokenizer: added token %u has %zu bytes, at most %u are supported", token.id,
                           token.content.size(), kMaxAddedTokenBytes);
    }
    sorted.emplace(std::pair(token.normalized, token.content), token);
  }
  tables.added_tokens.clear();
  for (auto& [key, token] : sorted) tables.added_tokens.push_back(std::move(token));
  return Status::ok();
}

}  // namespace pets::tokenizer
