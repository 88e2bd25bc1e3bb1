#include "runtime/bundle/text.h"

#include <gtest/gtest.h>

#include <string>

namespace pets::bundle {
namespace {

TEST(BundleText, TaskNamesAreOneLineOfUtf8) {
  EXPECT_TRUE(is_valid_task_name("product-sentiment"));
  EXPECT_TRUE(is_valid_task_name(std::string(256, 'x')));
  EXPECT_FALSE(is_valid_task_name(""));
  EXPECT_FALSE(is_valid_task_name(std::string(257, 'x')));
  EXPECT_FALSE(is_valid_task_name("two\nlines"));
  EXPECT_FALSE(is_valid_task_name("next\xC2\x85line"));
  EXPECT_FALSE(is_valid_task_name("cut\xC3"));
  EXPECT_FALSE(is_valid_task_name(std::string_view("nul\0", 4)));
}

TEST(BundleText, FingerprintsAre32LowercaseHexadecimalDigits) {
  EXPECT_TRUE(is_valid_fingerprint("0123456789abcdef0123456789abcdef"));
  EXPECT_FALSE(is_valid_fingerprint("0123456789ABCDEF0123456789ABCDEF"));
  EXPECT_FALSE(is_valid_fingerprint("0123456789abcdef"));
}

}  // namespace
}  // namespace pets::bundle
