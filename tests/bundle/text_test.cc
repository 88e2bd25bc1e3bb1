#include "runtime/bundle/text.h"

#include <gtest/gtest.h>

namespace pets::bundle {
namespace {

TEST(BundleText, WellFormedUtf8IsAccepted) {
  for (const char* text : {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF", "\xF0\x90\x80\x80",
                           "\xF4\x8F\xBF\xBF", "caf\xC3\xA9 \xE5\xAE\xB6"}) {
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  }
}

TEST(BundleText, IllFormedUtf8IsRefused) {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
                           "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xC3"}) {
    EXPECT_FALSE(is_valid_utf8(text)) << text;
  }
}

TEST(BundleText, TaskNamesAreOneLineOfUtf8) {
  EXPECT_TRUE(is_valid_task_name("product-sentiment"));
  EXPECT_TRUE(is_valid_task_name(std::string(256, 'x')));
  EXPECT_FALSE(is_valid_task_name(""));
  EXPECT_FALSE(is_valid_task_name(std::string(257, 'x')));
  EXPECT_FALSE(is_valid_task_name("two\nlines"));
  EXPECT_FALSE(is_valid_task_name(std::string_view("nul\0", 4)));
}

TEST(BundleText, PrintableTextIsOneShortLine) {
  EXPECT_EQ(printable("a\nb\x01"
                      "c\xFF\xC3\xA9"),
            "a?b?c?\xC3\xA9");
  EXPECT_EQ(printable(std::string(500, 'x')).size(), 83U);
  EXPECT_EQ(printable(""), "");
}

TEST(BundleText, FingerprintsAre32LowercaseHexadecimalDigits) {
  EXPECT_TRUE(is_valid_fingerprint("0123456789abcdef0123456789abcdef"));
  EXPECT_FALSE(is_valid_fingerprint("0123456789ABCDEF0123456789ABCDEF"));
  EXPECT_FALSE(is_valid_fingerprint("0123456789abcdef"));
}

}  // namespace
}  // namespace pets::bundle
