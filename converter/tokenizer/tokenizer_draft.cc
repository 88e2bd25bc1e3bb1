#include "converter/tokenizer/tokenizer_draft.h"

#include <algorithm>

#include "runtime/platform/check.h"
#include "runtime/platform/file.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

bool same_options(const tokenizer::AddedToken& a, const tokenizer::AddedToken& b) {
  return a.special == b.special && a.normalized == b.normalized && a.lstrip == b.lstrip && a.rstrip == b.rstrip &&
         a.single_word == b.single_word;
}

}  // namespace

bool TokenizerDraft::find(const std::string& content, uint32_t& id) const {
  for (const auto& token : tables.added_tokens) {
    if (token.content != content) continue;
    id = token.id;
    return true;
  }
  const auto entry = vocabulary.find(content);
  if (entry == vocabulary.end()) return false;
  id = entry->second;
  return true;
}

bool TokenizerDraft::has(const tokenizer::AddedToken& token) const {
  const auto found = current.find(token.content);
  return found != current.end() && same_options(found->second, token);
}

Status TokenizerDraft::add(tokenizer::AddedToken token, const std::string& path) {
  if (token.content.empty()) return Status::error(ErrorCode::kInvalidArgument, "%s: an added token is empty", path.c_str());
  if (has(token)) return Status::ok();
  auto next = static_cast<uint32_t>(vocabulary.size());
  bool was_special = false;
  for (tokenizer::AddedToken& existing : tables.added_tokens) {
    next = std::max(next, existing.id + 1);
    if (existing.content != token.content) continue;
    was_special = was_special || existing.special;
    existing.lstrip = token.lstrip;
    existing.rstrip = token.rstrip;
    existing.single_word = token.single_word;
  }
  if (!find(token.content, token.id)) token.id = next;
  current[token.content] = token;
  if (!was_special) tables.added_tokens.push_back(std::move(token));
  return Status::ok();
}

Result<TokenizerDraft> read_vocabulary_text(const std::string& path) {
  constexpr uint64_t kMaxBytes = uint64_t{64} << 20;
  PETS_ASSIGN_OR_RETURN(const platform::MappedFile file, platform::MappedFile::open(path.c_str()));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (text.size() > kMaxBytes) return Status::error(ErrorCode::kInvalidArgument, "%s: more than 64 MiB", path.c_str());
  if (const size_t invalid = utf8::find_invalid(text); invalid != utf8::kValid) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: not UTF-8 at byte %zu", path.c_str(), invalid);
  }
  // Lines as Python's text mode reads them: "\r\n" and "\r" end a line like "\n". Of two equal lines the last counts.
  TokenizerDraft draft;
  uint32_t id = 0;
  for (size_t begin = 0; begin < text.size(); ++id) {
    size_t end = text.find_first_of("\r\n", begin);
    if (end == std::string_view::npos) end = text.size();
    draft.vocabulary[std::string(text.substr(begin, end - begin))] = id;
    begin = end + (text.substr(end, 2) == "\r\n" ? 2 : 1);
  }
  if (id == 0) return Status::error(ErrorCode::kInvalidArgument, "%s: empty", path.c_str());
  return draft;
}

}  // namespace pets::converter
