#include "runtime/platform/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace pets::utf8 {
namespace {

TEST(Utf8, WellFormedUtf8IsAccepted) {
  for (const char* text : {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF", "\xF0\x90\x80\x80",
                           "\xF4\x8F\xBF\xBF", "caf\xC3\xA9 \xE5\xAE\xB6"}) {
    EXPECT_TRUE(is_valid(text)) << text;
  }
}

TEST(Utf8, IllFormedUtf8IsRefused) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
                           "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xC3"}) {
    EXPECT_FALSE(is_valid(text)) << text;
  }
}

TEST(Utf8, FindsTheFirstByteOfWhatIsNotUtf8) {
  EXPECT_EQ(find_invalid(""), kValid);
  EXPECT_EQ(find_invalid("plain \u00E9 \u4E2D \U0001F600"), kValid);
  EXPECT_EQ(find_invalid("0123456789\x80"), 10u);
  EXPECT_EQ(find_invalid("ab\xC0\x80"), 2u);          // overlong
  EXPECT_EQ(find_invalid("ab\xE0\x9F\xBF"), 2u);      // overlong
  EXPECT_EQ(find_invalid("ab\xF0\x8F\xBF\xBF"), 2u);  // overlong
  EXPECT_EQ(find_invalid("abc\xED\xA0\x80"), 3u);     // a surrogate
  EXPECT_EQ(find_invalid("\xF4\x90\x80\x80"), 0u);    // beyond U+10FFFF
  EXPECT_EQ(find_invalid("\xF4\x8F\xBF\xBF"), kValid);
  EXPECT_EQ(find_invalid("abcdefgh\xE4\xB8"), 8u);  // cut
  EXPECT_EQ(find_invalid("\xFF"), 0u);
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    char bytes[4];
    const std::string text(bytes, encode(code, bytes));
    uint32_t position = 0;
    ASSERT_EQ(next(text.data(), position), code);
    ASSERT_EQ(position, text.size());
    ASSERT_TRUE(is_valid(text));
  }
}

TEST(Utf8, CountsCodePointsInAnyOrder) {
  CodePointCounter counter("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
  EXPECT_EQ(counter.before(0), 0U);
  EXPECT_EQ(counter.before(3), 2U);
  EXPECT_EQ(counter.before(10), 4U);
  EXPECT_EQ(counter.before(99), 5U);
  EXPECT_EQ(counter.before(1), 1U);
}

TEST(Utf8, MeasuresOneSequence) {
  EXPECT_EQ(sequence_length("\xF4\x8F\xBF\xBF"), 4U);
  EXPECT_EQ(sequence_length("\xED\x9F\xBF"), 3U);
  for (const std::string_view bad : {"\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                                     "\xF5\x80\x80\x80", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3\x28"}) {
    EXPECT_EQ(sequence_length(bad), 0U);
  }
}

TEST(Utf8, PrintableTextIsOneShortLine) {
  EXPECT_EQ(printable("a\nb\x01"
                      "c\xFF\xC3\xA9"),
            "a?b?c?\xC3\xA9");
  EXPECT_EQ(printable(std::string(500, 'x')).size(), 103U);
  EXPECT_EQ(printable(""), "");
}

TEST(Utf8, ControlCharactersAreSeenInBothRanges) {
  EXPECT_FALSE(has_control_character("caf\xC3\xA9 \xC2\xA0"));
  for (const std::string_view bad : {"a\nb", "\x7F", "\xC2\x80", "x\xC2\x9F", "\xFF"}) EXPECT_TRUE(has_control_character(bad)) << bad;
}

TEST(Utf8, APrefixEndsBetweenSequences) {
  EXPECT_EQ(prefix("a\xC3\xA9z", 2), "a");
  EXPECT_EQ(prefix("a\xC3\xA9z", 3), "a\xC3\xA9");
  EXPECT_EQ(prefix("short", 99), "short");
}

}  // namespace
}  // namespace pets::utf8
