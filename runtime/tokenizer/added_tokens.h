// AddedVocabulary of the `tokenizers` library: tokens that are found in the text before (or after) it is normalized and never split.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pets/status.h"
#include "runtime/tokenizer/normalizer.h"

namespace pets::schema {
struct AddedToken;
struct WordPiece;
}  // namespace pets::schema

namespace pets::tokenizer {

inline constexpr uint32_t kMaxAddedTokenBytes = 512;

/// A view of a bundle's added tokens. A bundle holds them sorted (`normalized` false before true, then by the bytes of `content`), without
/// two of one content, and with the content of `normalized` tokens already normalized: see prepare_added_tokens in tables.h.
class AddedTokens {
 public:
  AddedTokens() = default;

  /// Checks order, contents and ids; every id must be below `vocabulary`.
  static Result<AddedTokens> create(const schema::WordPiece& tables, uint32_t vocabulary) noexcept;

  bool any_raw() const noexcept { return raw_count_ > 0; }
  bool any_normalized() const noexcept { return raw_count_ < count_; }

  /// A token that was found: bytes [start, end) of the text, without the white space that lstrip and rstrip take.
  struct Match {
    const schema::AddedToken* token = nullptr;
    uint32_t start = 0, end = 0;
  };
  /// The leftmost, then longest, raw token at or after `from` in valid UTF-8; token is null where there is none.
  Match find_raw(std::string_view text, uint32_t from) const noexcept;

  /// The longest normalized token that `first` and then `rest` begin with; null where there is none. `after` is then behind it, `last` its
  /// last character, and `characters` their number.
  const schema::AddedToken* match_normalized(const NormalizedCharacter& first, const NormalizedStream& rest, NormalizedStream& after,
                                             NormalizedCharacter& last, uint32_t& characters) const noexcept;

 private:
  class Search;
  using ByteSet = std::array<uint64_t, 4>;

  const schema::AddedToken* token(uint32_t index) const noexcept;
  std::string_view content(uint32_t index) const noexcept;

  const schema::WordPiece* tables_ = nullptr;
  uint32_t raw_count_ = 0, count_ = 0;
  ByteSet raw_first_{}, normalized_first_{};  // bytes that contents begin with
  int raw_only_first_ = -1;                   // the only one, if there is just one
};

}  // namespace pets::tokenizer
