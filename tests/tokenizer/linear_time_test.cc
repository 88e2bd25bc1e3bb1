// Hostile text of 4 MiB takes time in proportion to its length.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/tokenizer/bundled_tokenizer.h"

namespace pets::tokenizer::testing {
namespace {

#ifdef PETS_SLOW_BUILD  // instrumented
constexpr size_t kFull = size_t{1} << 20;
#else
constexpr size_t kFull = size_t{4} << 20;
#endif

struct Kind {
  const char* name;
  std::string unit;
};

class LinearTime : public ::testing::TestWithParam<Kind> {};

std::string repeated(const std::string& unit, size_t bytes) {
  std::string text;
  while (text.size() + unit.size() <= bytes) text += unit;
  return text;
}

double seconds(OwnedTokenizer& tokenizer, const std::string& text, int runs) {
  double best = 1e9;
  for (int run = 0; run < runs; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    const auto encoding = tokenizer.encode(text, kFull + 2);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    EXPECT_TRUE(encoding.is_ok()) << encoding.status().message();
  }
  return best;
}

TEST_P(LinearTime, AnEighthTakesNotMuchLessThanAnEighth) {
  WordPieceTables tables = small_tables();
  AddedToken blank{40, " ", false, false};
  blank.lstrip = blank.rstrip = true;
  if (GetParam().unit == "  ") tables.added_tokens.push_back(blank);
  if (std::string(GetParam().name).find("Normalized") != std::string::npos) {
    blank.normalized = true;
    tables.added_tokens.push_back(blank);
    tables.added_tokens.push_back({41, "aaaaaab", false, true});
  }
  OwnedTokenizer tokenizer(prepared(tables));
  ASSERT_TRUE(tokenizer.result.is_ok()) << tokenizer.result.status().message();
  const double part = seconds(tokenizer, repeated(GetParam().unit, kFull / 8), 3),
               whole = seconds(tokenizer, repeated(GetParam().unit, kFull), 1);
  std::printf("%s: %.1f ms for %zu MiB\n", GetParam().name, whole * 1e3, kFull >> 20);
  EXPECT_LT(whole, std::max(0.25, part * 8 * 3)) << "an eighth of it: " << part << " s";  // squared it would be 64 times
}

INSTANTIATE_TEST_SUITE_P(Hostile, LinearTime,
                         ::testing::Values(Kind{"OneLetter", "a"}, Kind{"Spaces", " "}, Kind{"SpacesThatAreTokens", "  "},
                                           Kind{"Punctuation", "!"}, Kind{"Brackets", "["}, Kind{"AlmostSpecial", "[MASK"},
                                           Kind{"Special", "[MASK]"}, Kind{"Marks", "\u0301"},
                                           Kind{"MarksThatStay", "\U0001D16D\u302E\u0301\U0001D165"},
                                           Kind{"Controls", std::string(1, '\x01')}, Kind{"Ideographs", "\u4E2D"}, Kind{"Hangul", "\uD55C"},
                                           Kind{"LongWords", std::string(100, 'a') + " "}, Kind{"NormalizedSpaces", " "},
                                           Kind{"NormalizedLetters", "a"}, Kind{"NormalizedMarks", "a\u0301\u0301"}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace pets::tokenizer::testing
