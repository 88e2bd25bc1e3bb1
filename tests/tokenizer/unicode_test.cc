// Every code point, against what the `tokenizers` library made of it.
#include "runtime/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tokenizer/golden_files.h"

#include "runtime/platform/utf8.h"
#include "runtime/tokenizer/tables.h"

namespace pets::tokenizer::testing {
namespace {

std::string to_utf8(char32_t code) {
  char bytes[4];
  return {bytes, utf8::encode(code, bytes)};
}

bool is_surrogate(char32_t code) { return code >= 0xD800 && code <= 0xDFFF; }

uint32_t crc32(const std::string& data, uint32_t crc) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      entries[i] = i;
      for (int bit = 0; bit < 8; ++bit) entries[i] = entries[i] >> 1 ^ ((entries[i] & 1) != 0 ? 0xEDB88320u : 0);
    }
    return entries;
  }();
  crc = ~crc;
  for (const char byte : data) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

// The normalized text, then its words, a line each.
std::string normalized_and_split(const std::string& text, const NormalizerOptions& options) {
  const std::string normal = normalize(text, options);
  std::string out = normal, word;
  const auto flush = [&] {
    if (!word.empty()) out += "\n" + word;
    word.clear();
  };
  for (uint32_t at = 0; at < normal.size();) {
    const char32_t code = utf8::next(normal.data(), at);
    const uint8_t classes = unicode::classify(code);
    if ((classes & (unicode::kSpace | unicode::kPunctuation)) != 0) flush();
    if ((classes & unicode::kSpace) == 0) word += to_utf8(code);
    if ((classes & unicode::kPunctuation) != 0) flush();
  }
  flush();
  return out;
}

TEST(Unicode, EveryCodePointIsNormalizedAndSplitAsByTheLibrary) {
  constexpr uint32_t kBlock = 0x400;
  // clean_text, handle_chinese_characters, strip_accents, lowercase; see make_unicode_tables.py, digests.
  const NormalizerOptions settings[] = {
      {true, true, true, true}, {true, true, false, false}, {false, false, true, false}, {false, true, false, true}};
  size_t blocks = 0;
  for_each_line(std::filesystem::path(PETS_SOURCE_DIR) / "tests" / "tokenizer" / "unicode_digests.txt", [&](const std::string& line) {
    if (line.starts_with("#")) return;
#ifdef PETS_SLOW_BUILD  // the first blocks hold nearly all that is assigned, of the others one in eight is enough
#ifdef PETS_EMULATED
    constexpr uint32_t kAssigned = 0x1000, kOneIn = 64;  // the tables are the same as on any CPU
#else
    constexpr uint32_t kAssigned = 0x20000, kOneIn = 8;
#endif
    if (blocks > kAssigned / kBlock && blocks % kOneIn != 0) {
      ++blocks;
      return;
    }
#endif
    std::istringstream fields(line);
    uint32_t block = 0, expected = 0;
    fields >> std::hex >> block >> expected;
    uint32_t crc = 0;
    for (const NormalizerOptions& options : settings) {
      for (char32_t code = block; code < block + kBlock; ++code) {
        if (is_surrogate(code)) continue;
        const std::string alone = to_utf8(code), between = std::string("A").append(alone).append("\u0345\u0334z");
        for (const std::string& text : {alone, between}) crc = crc32(normalized_and_split(text, options) + '\0', crc);
      }
    }
    EXPECT_EQ(crc, expected) << "a code point from " << std::hex << block << " on differs";
    ++blocks;
  });
  EXPECT_EQ(blocks, 0x110000u / kBlock);
}

TEST(Unicode, LowercaseAndAccentsEqualTheGoldenListForEveryCodePoint) {
  const NormalizerOptions lower{false, false, false, true}, strip{false, false, true, false};
  std::vector<bool> lowered(0x110000), stripped(0x110000);
  for_each_line(golden_directory() / "normalized.txt.gz", [&](const std::string& line) {
    std::istringstream fields(line);
    uint32_t code = 0, part = 0;
    std::string kind, expected;
    fields >> std::hex >> code >> kind;
    while (fields >> part) expected += to_utf8(part);
    (kind == "lower" ? lowered : stripped)[code] = true;
    EXPECT_EQ(normalize(to_utf8(code), kind == "lower" ? lower : strip), expected) << kind << " of " << std::hex << code;
  });
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (is_surrogate(code)) continue;
    const std::string text = to_utf8(code);
    if (!lowered[code]) {
      EXPECT_EQ(normalize(text, lower), text) << std::hex << static_cast<uint32_t>(code);
    }
    if (!stripped[code]) {
      EXPECT_EQ(normalize(text, strip), text) << std::hex << static_cast<uint32_t>(code);
    }
  }
}

TEST(Unicode, ClassesEqualTheGoldenListForEveryCodePoint) {
  size_t points = 0;
  for_each_line(golden_directory() / "code_points.txt.gz", [&](const std::string& line) {
    std::istringstream fields(line);
    uint32_t first = 0, last = 0;
    std::string expected;
    fields >> std::hex >> first >> last >> expected;
    for (char32_t code = first; code <= last; ++code, ++points) {
      const uint8_t classes = unicode::classify(code);
      const char* found = (classes & unicode::kDropped) != 0       ? "removed"
                          : (classes & unicode::kSpace) != 0       ? "space"
                          : unicode::is_chinese(code)              ? "chinese"
                          : (classes & unicode::kPunctuation) != 0 ? "punctuation"
                                                                   : "plain";
      EXPECT_EQ(found, expected) << std::hex << static_cast<uint32_t>(code);
    }
  });
  EXPECT_EQ(points, 0x110000u - 0x800u);
}

TEST(Unicode, MarksThatStayAreOrderedCanonicallyAndTakeThePlacesInOrder) {
  // U+1D165 (216), U+302E (224) and U+1D16D (226) have a combining class and are no non-spacing marks; U+0301 (230) and U+0323 (220) are.
  const std::string text = "a\U0001D16D\u0301\u302E\u0323\U0001D165\u302Eb";
  NormalizedStream stream(text.data(), 0, static_cast<uint32_t>(text.size()), {false, false, true, false});
  struct Expected {
    char32_t code;
    uint32_t start, end;
  };
  // The library sorts all six marks to 1D165, 0323, 302E, 302E, 1D16D, 0301, and the n-th of them takes the n-th place.
  const Expected expected[] = {{'a', 0, 1}, {0x1D165, 1, 5}, {0x302E, 7, 10}, {0x302E, 10, 12}, {0x1D16D, 12, 16}, {'b', 19, 20}};
  NormalizedCharacter c{};
  for (const Expected& want : expected) {
    ASSERT_TRUE(stream.next(c));
    EXPECT_EQ(c.code, want.code);
    EXPECT_EQ(c.start, want.start) << std::hex << static_cast<uint32_t>(want.code);
    EXPECT_EQ(c.end, want.end) << std::hex << static_cast<uint32_t>(want.code);
  }
  EXPECT_FALSE(stream.next(c));
}

TEST(Unicode, MarksAtTheStartOfTheTextHaveNoStarter) {
  EXPECT_EQ(normalize("\u302E\U0001D165", {false, false, true, false}), "\U0001D165\u302E");
  EXPECT_EQ(normalize("\u0301\u0301", {false, false, true, false}), "");
}

TEST(Unicode, ControlCharactersBetweenMarksDoNotEndTheSequence) {
  EXPECT_EQ(normalize("a\u302E\x01\U0001D165", {true, true, true, true}), "a\U0001D165\u302E");
}

}  // namespace
}  // namespace pets::tokenizer::testing
