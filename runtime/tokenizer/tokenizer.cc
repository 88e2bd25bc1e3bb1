#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>
#include <cstring>

#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"
#include "runtime/tokenizer/part_encoder.h"
#include "runtime/tokenizer/truncation.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer {
namespace {

Status check_id(uint32_t id, uint32_t vocabulary, const char* name) noexcept {
  if (id < vocabulary) return Status::ok();
  return Status::error(ErrorCode::kDamaged, "tokenizer: %s is %u, but the word embeddings have %u rows", name, id, vocabulary);
}

Status check_text(std::string_view text, const char* name) noexcept {
  if (text.size() > UINT32_MAX) return Status::error(ErrorCode::kInvalidArgument, "%s has more than 4 GiB", name);
  const size_t invalid = utf8::find_invalid(text);
  if (invalid == utf8::kValid) return Status::ok();
  return Status::error(ErrorCode::kInvalidArgument, "%s is not valid UTF-8 at byte %zu", name, invalid);
}

}  // namespace

Result<WordPieceTokenizer> WordPieceTokenizer::create(const schema::WordPiece& tables, std::span<const std::byte> segment,
                                                      uint32_t vocabulary) noexcept {
  WordPieceTokenizer tokenizer;
  WordPieceModel& model = tokenizer.model_;
  PETS_ASSIGN_OR_RETURN(model.vocabulary, Vocabulary::create(tables, segment));
  if (model.vocabulary.entries() > vocabulary) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: %u entries, but the word embeddings have %u rows", model.vocabulary.entries(),
                         vocabulary);
  }
  PETS_RETURN_IF_ERROR(check_id(tables.unknown_id(), vocabulary, "unknown_id"));
  PETS_RETURN_IF_ERROR(check_id(tables.class_id(), vocabulary, "class_id"));
  PETS_RETURN_IF_ERROR(check_id(tables.separator_id(), vocabulary, "separator_id"));
  if (tables.max_characters_per_word() > kMaxCharactersPerWord) {
    return Status::error(ErrorCode::kUnsupported, "tokenizer: max_characters_per_word is %u, at most %u are supported",
                         tables.max_characters_per_word(), kMaxCharactersPerWord);
  }
  if (const auto* prefix = tables.continuation_prefix()) model.prefix = {prefix->c_str(), prefix->size()};
  if (model.prefix.size() > kMaxPrefixBytes || !utf8::is_valid(model.prefix)) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: continuation_prefix is too long or not UTF-8");
  }
  if (tables.strip_accents() > schema::StripAccents::kYes) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: strip_accents has an unknown value");
  }
  model.unknown_id = tables.unknown_id();
  model.max_characters = tables.max_characters_per_word();
  tokenizer.class_id_ = tables.class_id();
  tokenizer.separator_id_ = tables.separator_id();
  PETS_ASSIGN_OR_RETURN(tokenizer.added_, AddedTokens::create(tables, vocabulary));
  const bool strip_as_lowercase = tables.strip_accents() == schema::StripAccents::kAsLowercase;
  tokenizer.normalizer_ = {tables.clean_text(), tables.handle_chinese_characters(),
                           strip_as_lowercase ? tables.lowercase() : tables.strip_accents() == schema::StripAccents::kYes,
                           tables.lowercase()};
  tokenizer.ascii_ = make_ascii_table(tokenizer.normalizer_);
  return tokenizer;
}

size_t WordPieceTokenizer::scratch_bytes() const noexcept { return WordBuffer::bytes_needed(model_.max_characters, model_.prefix.size()); }

Result<Encoding> WordPieceTokenizer::encode(std::string_view text, std::string_view pair, bool has_pair, uint32_t max_length,
                                            std::span<Token> tokens, std::span<std::byte> scratch) const noexcept {
  if (model_.vocabulary.entries() == 0) return Status::error(ErrorCode::kInternal, "tokenizer: not created");
  if (max_length < special_count(has_pair)) {
    return Status::error(ErrorCode::kInvalidArgument, "max_length is %u, but the special tokens alone are %u", max_length,
                         special_count(has_pair));
  }
  if (tokens.size() < max_length || scratch.size() < scratch_bytes()) {
    return Status::error(ErrorCode::kInternal, "tokenizer: %zu tokens and %zu bytes of scratch given, needs %u and %zu", tokens.size(),
                         scratch.size(), max_length, scratch_bytes());
  }
  PETS_RETURN_IF_ERROR(check_text(text, "text"));
  if (has_pair) PETS_RETURN_IF_ERROR(check_text(pair, "text_pair"));
  const uint32_t room = max_length - special_count(has_pair);
  return has_pair ? encode_pair(text, pair, room, tokens.data(), scratch) : encode_single(text, room, tokens.data(), scratch);
}

uint64_t WordPieceTokenizer::encode_part(std::string_view text, uint8_t segment, Token* tokens, uint64_t capacity, uint64_t limit,
                                         std::span<std::byte> scratch) const noexcept {
  TokenSink sink(tokens, capacity, limit, segment);
  PartEncoder encoder({model_, added_, normalizer_, ascii_}, text, scratch, sink);
  encoder.run();
  return sink.count();
}

Encoding WordPieceTokenizer::encode_single(std::string_view text, uint32_t room, Token* tokens,
                                           std::span<std::byte> scratch) const noexcept {
  const uint64_t found = encode_part(text, 0, tokens + 1, room, uint64_t{room} + 1, scratch);
  const auto kept = static_cast<uint32_t>(std::min<uint64_t>(found, room));
  tokens[0] = special(class_id_, 0);
  tokens[kept + 1] = special(separator_id_, 0);
  return {kept + 2, found > kept};
}

Encoding WordPieceTokenizer::encode_pair(std::string_view text, std::string_view pair, uint32_t room, Token* tokens,
                                         std::span<std::byte> scratch) const noexcept {
  // The first part is stored as far as there is room, the second behind it. Where the first is then cut shorter than it was stored, the
  // second moves up, and what it lacks is encoded again.
  const uint64_t first = encode_part(text, 0, tokens + 1, room, first_limit(room), scratch);
  const uint64_t first_stored = std::min<uint64_t>(first, room), second_room = room - first_stored;
  Token* second_tokens = tokens + first_stored + 2;
  const uint64_t second = encode_part(pair, 1, second_tokens, second_room, second_limit(first, room), scratch);
  const PartLengths kept = longest_first(first, second, room);
  if (kept.first != first_stored) {
    Token* target = tokens + kept.first + 2;
    if (kept.second <= std::min(second, second_room)) {
      std::memmove(target, second_tokens, kept.second * sizeof(Token));
    } else {
      encode_part(pair, 1, target, kept.second, kept.second, scratch);
    }
  }
  const auto count = static_cast<uint32_t>(kept.first + kept.second + 3);
  tokens[0] = special(class_id_, 0);
  tokens[kept.first + 1] = special(separator_id_, 0);
  tokens[count - 1] = special(separator_id_, 1);
  return {count, kept.first < first || kept.second < second};
}

}  // namespace pets::tokenizer
