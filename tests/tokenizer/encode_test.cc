// What encode promises, behaviour by behaviour, on a vocabulary small enough to read.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/tokenizer/bundled_tokenizer.h"

#include "runtime/tokenizer/truncation.h"

namespace pets::tokenizer::testing {
namespace {

std::vector<int> ids(const OwnedTokenizer& tokenizer, const Encoding& encoding) {
  std::vector<int> out;
  for (uint32_t i = 0; i < encoding.count; ++i) out.push_back(tokenizer.tokens[i].id);
  return out;
}

std::vector<int> ids(OwnedTokenizer& tokenizer, std::string_view text) {
  const auto encoding = tokenizer.encode(text);
  EXPECT_TRUE(encoding.is_ok()) << encoding.status().message();
  return encoding ? ids(tokenizer, *encoding) : std::vector<int>();
}

// "start-end" of every token that the template did not add.
std::string offsets(const OwnedTokenizer& tokenizer, const Encoding& encoding) {
  std::string out;
  for (uint32_t i = 0; i < encoding.count; ++i) {
    const Token& token = tokenizer.tokens[i];
    if (!token.special) out += std::to_string(token.start) + "-" + std::to_string(token.end) + " ";
  }
  return out;
}

WordPieceTables with_token(AddedToken token) {
  WordPieceTables tables = small_tables();
  tables.added_tokens.push_back(std::move(token));
  return prepared(std::move(tables));
}

class Encode : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(tokenizer.result.is_ok()) << tokenizer.result.status().message(); }
  OwnedTokenizer tokenizer{prepared(small_tables())};
};

TEST_F(Encode, EmptyTextIsTheTemplateAlone) {
  const auto encoding = tokenizer.encode("");
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 3}));
  EXPECT_FALSE(encoding->truncated);
  EXPECT_TRUE(tokenizer.tokens[0].special);
  EXPECT_EQ(ids(tokenizer, " \t\r\n\x01"), (std::vector<int>{2, 3}));
}

TEST_F(Encode, AnEmptyPairIsAPair) {
  const auto encoding = tokenizer.encode_pair("", "");
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 3, 3}));
  EXPECT_EQ(tokenizer.tokens[1].segment, 0);
  EXPECT_EQ(tokenizer.tokens[2].segment, 1);
}

TEST_F(Encode, TheLongestPieceWins) { EXPECT_EQ(ids(tokenizer, "Unwanted RUNNING the"), (std::vector<int>{2, 9, 10, 11, 12, 13, 5, 3})); }

TEST_F(Encode, AWordWithoutAPieceIsUnknownAsAWhole) {
  const auto encoding = tokenizer.encode("hello unwantedX world");
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 14, 1, 15, 3}));
  EXPECT_EQ(offsets(tokenizer, *encoding), "0-5 6-15 16-21 ");
}

TEST_F(Encode, AWordOfTheMostCharactersIsReadAndALongerOneIsUnknown) {
  EXPECT_EQ(ids(tokenizer, std::string(100, 'a')).size(), 102u);
  EXPECT_EQ(ids(tokenizer, std::string(101, 'a')), (std::vector<int>{2, 1, 3}));
  EXPECT_EQ(ids(tokenizer, std::string(100000, 'a') + " the"), (std::vector<int>{2, 1, 5, 3}));
}

TEST_F(Encode, OffsetsAreBytesOfTheOriginalText) {
  // U+00C9 loses its accent, U+0130 its dot; the ideographs stand alone.
  const auto encoding = tokenizer.encode("\u00C9\u0130b  \u4E2D\u6587!");
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 27, 26, 24, 29, 30, 18, 3}));
  EXPECT_EQ(offsets(tokenizer, *encoding), "0-2 2-4 4-5 7-10 10-13 13-14 ");
}

TEST_F(Encode, SpecialTokensInTheTextAreFoundButNotMarkedSpecial) {
  const auto encoding = tokenizer.encode("a[SEP]b [mask] [MASK]");
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 21, 3, 23, 19, 1, 20, 4, 3}));
  EXPECT_FALSE(tokenizer.tokens[2].special);
  EXPECT_EQ(offsets(tokenizer, *encoding), "0-1 1-6 6-7 8-9 9-13 13-14 15-21 ");
}

TEST_F(Encode, TruncationKeepsTheFirstTokensAndSaysSo) {
  const auto encoding = tokenizer.encode("a b a b a", 5);
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 21, 23, 21, 3}));
  EXPECT_TRUE(encoding->truncated);
  EXPECT_FALSE(tokenizer.encode("a b a b a", 7)->truncated);
  EXPECT_FALSE(tokenizer.encode("a b a  ", 5)->truncated);
  EXPECT_TRUE(tokenizer.encode("a b a  b", 5)->truncated);
}

TEST_F(Encode, AWordThatTurnsOutUnknownAtTheLimitCountsOnce) {
  // The word yields pieces until its last letter, which no piece has: one unknown token, which fits.
  const auto encoding = tokenizer.encode("a aaaaaaaaX", 4);
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 21, 1, 3}));
  EXPECT_FALSE(encoding->truncated);
}

TEST_F(Encode, ALongTextIsReadNoFurtherThanNeeded) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "the ";
  const auto encoding = tokenizer.encode(text, 512);
  ASSERT_TRUE(encoding.is_ok());
  EXPECT_EQ(encoding->count, 512u);
  EXPECT_TRUE(encoding->truncated);
}

TEST_F(Encode, InvalidUtf8IsRefusedWithItsOffsetEvenBehindTheTruncation) {
  std::string text = "a a a a a a";
  text += '\xFF';
  const auto encoding = tokenizer.encode(text, 4);
  ASSERT_FALSE(encoding.is_ok());
  EXPECT_EQ(encoding.status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(encoding.status().message(), "text is not valid UTF-8 at byte 11");
  EXPECT_EQ(tokenizer.encode_pair("a", "b\xC3").status().message(), "text_pair is not valid UTF-8 at byte 1");
}

TEST_F(Encode, NoRoomForTheTemplateIsAnError) {
  EXPECT_FALSE(tokenizer.encode("a", 1).is_ok());
  EXPECT_FALSE(tokenizer.encode_pair("a", "b", 2).is_ok());
  const auto single = tokenizer.encode("a", 2);
  ASSERT_TRUE(single.is_ok());
  EXPECT_EQ(ids(tokenizer, *single), (std::vector<int>{2, 3}));
  EXPECT_TRUE(single->truncated);
  EXPECT_EQ(tokenizer.encode_pair("a", "b", 3)->count, 3u);
}

TEST_F(Encode, TooLittleMemoryIsAnError) {
  std::vector<Token> tokens(8);
  EXPECT_FALSE(tokenizer.result->encode("a", {}, false, 9, tokens, tokenizer.scratch).is_ok());
  EXPECT_FALSE(tokenizer.result->encode("a", {}, false, 8, tokens, std::span(tokenizer.scratch).first(8)).is_ok());
}

TEST_F(Encode, ScratchMayBeMisaligned) {
  std::vector<std::byte> scratch(tokenizer.result->scratch_bytes() + 3);
  std::vector<Token> tokens(128);
  for (size_t shift = 0; shift < 4; ++shift) {
    const auto encoding = tokenizer.result->encode(std::string(100, 'a'), {}, false, 128, tokens,
                                                   std::span(scratch).subspan(shift).first(scratch.size() - 3));
    ASSERT_TRUE(encoding.is_ok());
    EXPECT_EQ(encoding->count, 102u);
  }
}

TEST_F(Encode, ADefaultTokenizerRefuses) {
  EXPECT_FALSE(WordPieceTokenizer().encode("a", {}, false, 8, tokenizer.tokens, tokenizer.scratch).is_ok());
}

// The library's own words, utils/truncation.rs.
PartLengths library_longest_first(uint64_t n1, uint64_t n2, uint64_t max_length) {
  if (n1 + n2 <= max_length) return {n1, n2};
  if (max_length == 0) return {0, 0};
  bool swap = false;
  if (n1 > n2) {
    swap = true;
    std::swap(n1, n2);
  }
  n2 = n1 > max_length ? n1 : std::max(n1, max_length - n1);
  if (n1 + n2 > max_length) {
    n1 = max_length / 2;
    n2 = n1 + max_length % 2;
  }
  if (swap) std::swap(n1, n2);
  return {n1, n2};
}

TEST(Truncation, EqualsTheLibraryForAllSmallLengths) {
  for (uint64_t room = 0; room < 24; ++room) {
    for (uint64_t first = 0; first < 32; ++first) {
      for (uint64_t second = 0; second < 32; ++second) {
        const PartLengths expected = library_longest_first(first, second, room);
        // Counting stops at the limits, and nothing may depend on what lies behind.
        const uint64_t counted_first = std::min(first, first_limit(room));
        const uint64_t counted_second = std::min(second, second_limit(counted_first, room));
        const PartLengths found = longest_first(counted_first, counted_second, room);
        ASSERT_EQ(found.first, expected.first) << first << "+" << second << " in " << room;
        ASSERT_EQ(found.second, expected.second) << first << "+" << second << " in " << room;
        ASSERT_EQ(found.first < counted_first || found.second < counted_second, expected.first + expected.second < first + second);
      }
    }
  }
}

TEST_F(Encode, PairsAreCutLongestFirst) {
  for (uint32_t max_length = 3; max_length < 20; ++max_length) {
    for (uint32_t first = 0; first < 14; ++first) {
      for (uint32_t second = 0; second < 14; ++second) {
        std::string text, pair;
        for (uint32_t i = 0; i < first; ++i) text += "the ";
        for (uint32_t i = 0; i < second; ++i) pair += i % 2 == 0 ? "fox " : "hello ";
        const auto encoding = tokenizer.encode_pair(text, pair, max_length);
        ASSERT_TRUE(encoding.is_ok());
        const PartLengths kept = library_longest_first(first, second, max_length - 3);
        std::vector<int> expected{2};
        for (uint64_t i = 0; i < kept.first; ++i) expected.push_back(5);
        expected.push_back(3);
        for (uint64_t i = 0; i < kept.second; ++i) expected.push_back(i % 2 == 0 ? 8 : 14);
        expected.push_back(3);
        ASSERT_EQ(ids(tokenizer, *encoding), expected) << first << "+" << second << " in " << max_length;
        ASSERT_EQ(encoding->truncated, kept.first + kept.second < first + second);
      }
    }
  }
}

TEST(AddedTokens, TheLongestOfThoseThatBeginFirstWins) {
  WordPieceTables tables = small_tables();
  for (const char* content : {"he", "hell", "ell", "o w"})
    tables.added_tokens.push_back({static_cast<uint32_t>(40 + tables.added_tokens.size()), content});
  OwnedTokenizer tokenizer(prepared(tables));
  ASSERT_TRUE(tokenizer.result.is_ok()) << tokenizer.result.status().message();
  EXPECT_EQ(ids(tokenizer, "hello world"), (std::vector<int>{2, 46, 48, 1, 3}));
}

TEST(AddedTokens, NormalizedOnesAreFoundInNormalizedText) {
  OwnedTokenizer tokenizer(with_token({40, "\u00C4B", false, true}));
  EXPECT_EQ(ids(tokenizer, "the AB x\u00E4b a\u0308b"), (std::vector<int>{2, 5, 40, 1, 40, 40, 3}));
  const auto encoding = tokenizer.encode("x\u00E4b");
  EXPECT_EQ(offsets(tokenizer, *encoding), "0-1 1-4 ");
}

TEST(AddedTokens, RawOnesAreFoundAsWrittenOnly) {
  OwnedTokenizer tokenizer(with_token({40, "AB"}));
  EXPECT_EQ(ids(tokenizer, "AB ab"), (std::vector<int>{2, 40, 21, 24, 3}));
}

TEST(AddedTokens, StrippingTakesWhiteSpaceIntoTheToken) {
  for (const bool normalized : {false, true}) {
    AddedToken token{40, "!!", false, normalized};
    token.lstrip = true;
    token.rstrip = true;
    OwnedTokenizer tokenizer(with_token(token));
    const auto encoding = tokenizer.encode("a  !! \t b !!\u3000!!");
    ASSERT_TRUE(encoding.is_ok());
    EXPECT_EQ(ids(tokenizer, *encoding), (std::vector<int>{2, 21, 40, 23, 40, 40, 3}));
    EXPECT_EQ(offsets(tokenizer, *encoding), "0-1 1-8 8-9 9-15 15-17 ") << normalized;
  }
}

/// White space that the token before has taken leaves nothing for a token of white space that strips to its left, and the library drops it.
TEST(AddedTokens, WhatIsTakenWholeIsNoToken) {
  for (const bool normalized : {false, true}) {
    WordPieceTables tables = small_tables();
    AddedToken user{40, "!!", false, normalized};
    user.rstrip = true;
    AddedToken spaces{41, "  ", false, normalized};
    spaces.lstrip = true;
    tables.added_tokens = {user, spaces};
    OwnedTokenizer first(prepared(std::move(tables)));
    EXPECT_EQ(ids(first, "!!  "), (std::vector<int>{2, 40, 3})) << normalized;
    EXPECT_EQ(ids(first, "a  b"), (std::vector<int>{2, 21, 41, 23, 3})) << normalized;

    spaces.rstrip = true;
    OwnedTokenizer second(with_token(spaces));
    EXPECT_EQ(ids(second, "a    b"), (std::vector<int>{2, 21, 41, 23, 3})) << normalized;
    EXPECT_EQ(ids(second, "a       b"), (std::vector<int>{2, 21, 41, 23, 3})) << normalized;  // three and a half of them

    AddedToken trailing{42, "b ", false, normalized};  // its own space is not one that was taken before it
    WordPieceTables both = small_tables();
    both.added_tokens = {trailing, spaces};
    OwnedTokenizer third(prepared(std::move(both)));
    EXPECT_EQ(ids(third, "a  b   a"), (std::vector<int>{2, 21, 41, 42, 41, 21, 3})) << normalized;
  }
}

/// The normalizer's own spaces around a Chinese character belong to it in the text: taking them leaves the next character whole.
TEST(AddedTokens, TakingTheSpacesOfChineseCharactersLeavesTheCharacters) {
  AddedToken person{40, "\u4eba", false, true};
  person.lstrip = true;
  person.rstrip = true;
  OwnedTokenizer tokenizer(with_token(person));
  for (const char* text : {"\u4eba\u4eba", "\u4eba \u4eba", "\u4eba   \u4eba"}) {
    EXPECT_EQ(ids(tokenizer, text), (std::vector<int>{2, 40, 40, 3})) << text;
  }
}

TEST(AddedTokens, SingleWordsDoNotMatchInsideWords) {
  for (const bool normalized : {false, true}) {
    AddedToken token{40, "ab", false, normalized};
    token.single_word = true;
    OwnedTokenizer tokenizer(with_token(token));
    EXPECT_EQ(ids(tokenizer, "ab aab ab. _ab aba"), (std::vector<int>{2, 40, 21, 22, 24, 40, 17, 1, 21, 24, 21, 24, 22, 3})) << normalized;
  }
}

TEST(AddedTokens, OneThatNormalizesToNothingIsRefused) {
  WordPieceTables tables = small_tables();
  tables.added_tokens.push_back({40, "\u0301", false, true});
  EXPECT_FALSE(prepare_added_tokens(tables).is_ok());
}

}  // namespace
}  // namespace pets::tokenizer::testing
