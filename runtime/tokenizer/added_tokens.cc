#include "runtime/tokenizer/added_tokens.h"

#include <cstring>

#include "runtime/platform/utf8.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer {
namespace {

bool contains(const std::array<uint64_t, 4>& set, char byte) noexcept {
  const auto value = static_cast<unsigned char>(byte);
  return (set[value / 64] >> (value % 64) & 1) != 0;
}

}  // namespace

// The contents that begin with the bytes fed so far: a range of the sorted list, narrowed byte by byte.
class AddedTokens::Search {
 public:
  Search(const AddedTokens& tokens, uint32_t begin, uint32_t end) noexcept : tokens_(tokens), begin_(begin), end_(end) {}

  /// False when nothing begins like this.
  bool feed(char byte) noexcept {
    const auto wanted = static_cast<unsigned char>(byte);
    begin_ = bound(wanted);
    end_ = bound(wanted + 1);
    ++depth_;
    return begin_ < end_;
  }
  /// The content that equals the bytes fed so far; it sorts first.
  const schema::AddedToken* exact() const noexcept {
    return begin_ < end_ && tokens_.content(begin_).size() == depth_ ? tokens_.token(begin_) : nullptr;
  }

 private:
  // The first of the range whose next byte is not below `wanted`.
  uint32_t bound(int wanted) const noexcept {
    uint32_t low = begin_, high = end_;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      const std::string_view text = tokens_.content(middle);
      const int byte = depth_ < text.size() ? static_cast<unsigned char>(text[depth_]) : -1;
      if (byte < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  const AddedTokens& tokens_;
  uint32_t begin_, end_;
  size_t depth_ = 0;
};

const schema::AddedToken* AddedTokens::token(uint32_t index) const noexcept { return tables_->added_tokens()->Get(index); }

std::string_view AddedTokens::content(uint32_t index) const noexcept {
  const auto* text = token(index)->content();
  return {text->c_str(), text->size()};
}

Result<AddedTokens> AddedTokens::create(const schema::WordPiece& tables, uint32_t vocabulary) noexcept {
  const auto damaged = [](uint32_t i, const char* what) {
    return Status::error(ErrorCode::kDamaged, "tokenizer: added token %u: %s", i, what);
  };
  AddedTokens tokens;
  tokens.tables_ = &tables;
  const auto* list = tables.added_tokens();
  if (list == nullptr) return tokens;
  tokens.count_ = list->size();
  for (uint32_t i = 0; i < tokens.count_; ++i) {
    const auto* token = list->Get(i);
    if (token == nullptr || token->content() == nullptr || token->content()->size() == 0) return damaged(i, "no content");
    const std::string_view text = tokens.content(i);
    if (text.size() > kMaxAddedTokenBytes) return damaged(i, "content too long");
    if (!utf8::is_valid(text)) return damaged(i, "content is not UTF-8");
    if (token->id() >= vocabulary) {
      return Status::error(ErrorCode::kDamaged, "tokenizer: added token %u: id %u, but the word embeddings have %u rows", i, token->id(),
                           vocabulary);
    }
    if (i > 0) {
      const bool before = list->Get(i - 1)->normalized(), now = token->normalized();
      if (before > now || (before == now && tokens.content(i - 1) >= text)) return damaged(i, "out of order");
    }
    if (!token->normalized()) tokens.raw_count_ = i + 1;
    const auto first = static_cast<unsigned char>(text[0]);
    (token->normalized() ? tokens.normalized_first_ : tokens.raw_first_)[first / 64] |= uint64_t{1} << (first % 64);
  }
  if (tokens.raw_count_ > 0 && tokens.content(0)[0] == tokens.content(tokens.raw_count_ - 1)[0]) {
    tokens.raw_only_first_ = static_cast<unsigned char>(tokens.content(0)[0]);
  }
  return tokens;
}

AddedTokens::Match AddedTokens::find_raw(std::string_view text, uint32_t from) const noexcept {
  Match match;
  for (size_t i = from; i < text.size(); ++i) {
    if (raw_only_first_ >= 0) {
      const void* at = std::memchr(text.data() + i, raw_only_first_, text.size() - i);
      if (at == nullptr) return match;
      i = static_cast<size_t>(static_cast<const char*>(at) - text.data());
    } else if (!contains(raw_first_, text[i])) {
      continue;
    }
    Search search(*this, 0, raw_count_);
    for (size_t end = i; end < text.size() && search.feed(text[end]); ++end) {
      if (const auto* token = search.exact()) match = {token, static_cast<uint32_t>(i), static_cast<uint32_t>(end + 1)};
    }
    if (match.token != nullptr) return match;
  }
  return match;
}

const schema::AddedToken* AddedTokens::match_normalized(const NormalizedCharacter& first, const NormalizedStream& rest,
                                                        NormalizedStream& after, NormalizedCharacter& last,
                                                        uint32_t& characters) const noexcept {
  NormalizedCharacter c = first;
  char bytes[4];
  uint32_t size = utf8::encode(c.code, bytes);
  if (!contains(normalized_first_, bytes[0])) return nullptr;
  const schema::AddedToken* found = nullptr;
  NormalizedStream ahead = rest;
  Search search(*this, raw_count_, count_);
  for (uint32_t read = 1;; ++read) {
    for (uint32_t i = 0; i < size; ++i) {
      if (!search.feed(bytes[i])) return found;
    }
    if (const auto* token = search.exact()) {
      found = token;
      last = c;
      characters = read;
      after = ahead;
    }
    if (!ahead.next(c)) return found;
    size = utf8::encode(c.code, bytes);
  }
}

}  // namespace pets::tokenizer
