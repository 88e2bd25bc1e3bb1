// Tables and text from arbitrary bytes: create refuses or encode keeps its promises.
//
// Input, line by line: options (letters, see read_options); added tokens, separated by tabs, each a digit-like flag byte and its content;
// vocabulary, separated by blanks; patches of the segment, three bytes each (offset high, offset low, value); then the text, and behind a
// byte 0x1E the pair.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/tokenizer/bundled_tokenizer.h"

#include "runtime/platform/utf8.h"

namespace {

using namespace pets;
using namespace pets::tokenizer;
using pets::tokenizer::testing::OwnedTokenizer;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string_view take(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

void read_options(std::string_view letters, WordPieceTables& tables) {
  tables.clean_text = tables.handle_chinese_characters = tables.lowercase = false;
  tables.max_characters_per_word = 8;
  for (const char letter : letters) {
    if (letter == 'c') tables.clean_text = true;
    if (letter == 'z') tables.handle_chinese_characters = true;
    if (letter == 'l') tables.lowercase = true;
    if (letter == 's') tables.strip_accents = schema::StripAccents::kYes;
    if (letter == 'k') tables.strip_accents = schema::StripAccents::kNo;
    if (letter == 'p') tables.continuation_prefix = "";
    if (letter == 'm') tables.max_characters_per_word *= 3;
    tables.max_characters_per_word %= 1000;
  }
}

void read_added_tokens(std::string_view line, WordPieceTables& tables) {
  while (!line.empty()) {
    const std::string_view part = take(line, '\t');
    if (part.size() < 2) continue;
    AddedToken token;
    token.id = static_cast<uint32_t>(4 + tables.added_tokens.size());
    token.content = part.substr(1);
    token.normalized = (part[0] & 1) != 0;
    token.lstrip = (part[0] & 2) != 0;
    token.rstrip = (part[0] & 4) != 0;
    token.single_word = (part[0] & 8) != 0;
    tables.added_tokens.push_back(token);
  }
}

void read_vocabulary(std::string_view line, WordPieceTables& tables) {
  tables.vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  while (!line.empty()) tables.vocabulary.emplace_back(take(line, ' '));
  tables.unknown_id = 1;
  tables.class_id = 2;
  tables.separator_id = 3;
}

void check(const OwnedTokenizer& tokenizer, const Encoding& encoding, std::string_view text, std::string_view pair, bool has_pair,
           uint32_t max_length) {
  require(encoding.count >= WordPieceTokenizer::special_count(has_pair) && encoding.count <= max_length);
  require(tokenizer.tokens[0].special && tokenizer.tokens[encoding.count - 1].special);
  uint32_t specials = 0, last_start[2] = {0, 0};
  uint8_t last_segment = 0;
  for (uint32_t i = 0; i < encoding.count; ++i) {
    const Token& token = tokenizer.tokens[i];
    require(token.id >= 0 && static_cast<uint32_t>(token.id) < tokenizer.bundled.vocabulary_rows);
    require(token.segment >= last_segment && token.segment <= (has_pair ? 1 : 0));
    last_segment = token.segment;
    if (token.special) {
      require(token.start == 0 && token.end == 0);
      ++specials;
      continue;
    }
    const std::string_view own = token.segment == 0 ? text : pair;
    require(token.start <= token.end && token.end <= own.size() && token.start >= last_start[token.segment]);
    require(token.start == own.size() || !utf8::is_continuation(own[token.start]));
    require(token.end == own.size() || !utf8::is_continuation(own[token.end]));
    last_start[token.segment] = token.start;
  }
  require(specials == WordPieceTokenizer::special_count(has_pair));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  WordPieceTables tables;
  read_options(take(rest, '\n'), tables);
  read_added_tokens(take(rest, '\n'), tables);
  read_vocabulary(take(rest, '\n'), tables);
  std::string_view patches = take(rest, '\n');
  if (!prepare_added_tokens(tables)) return 0;
  OwnedTokenizer tokenizer(tables);
  auto& segment = tokenizer.bundled.segment;
  for (; patches.size() >= 3; patches.remove_prefix(3)) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(patches[i]); };
    segment[static_cast<size_t>(byte(0) * 256 + byte(1)) % segment.size()] = static_cast<std::byte>(byte(2));
  }
  tokenizer.result = tokenizer.bundled.create();
  if (!tokenizer.result) return 0;
  tokenizer.scratch.resize(tokenizer.result->scratch_bytes());

  const bool has_pair = rest.find('\x1E') != std::string_view::npos;
  const std::string text(take(rest, '\x1E')), pair(rest);  // copies, so that a byte read beyond is noticed
  const auto whole_length = static_cast<uint32_t>(size * 3 + 8);
  const auto whole = tokenizer.encode_any(text, pair, has_pair, whole_length);
  require(whole.is_ok() == (utf8::is_valid(text) && (!has_pair || utf8::is_valid(pair))));
  if (!whole) return 0;
  require(!whole->truncated);
  check(tokenizer, *whole, text, pair, has_pair, whole_length);
  const auto all = tokenizer.tokens;
  for (uint32_t max_length = WordPieceTokenizer::special_count(has_pair); max_length < whole->count + 2; max_length += 1 + max_length / 4) {
    const auto cut = tokenizer.encode_any(text, pair, has_pair, max_length);
    require(cut.is_ok());
    check(tokenizer, *cut, text, pair, has_pair, max_length);
    require(cut->truncated == (whole->count > max_length));
    require(cut->count == std::min(whole->count, max_length));
    if (has_pair) continue;
    for (uint32_t i = 0; i + 1 < cut->count; ++i) require(tokenizer.tokens[i].id == all[i].id && tokenizer.tokens[i].start == all[i].start);
  }
  return 0;
}
