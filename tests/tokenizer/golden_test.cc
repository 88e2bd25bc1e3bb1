// Every line of tests/golden/tokenizer, which the `tokenizers` library wrote: ids, type ids and offsets are equal, one by one.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tokenizer/bundled_tokenizer.h"
#include "tests/tokenizer/golden_files.h"

#include "converter/tokenizer/tokenizer_reader.h"
#include "runtime/platform/utf8.h"

namespace pets::tokenizer::testing {
namespace {

namespace fs = std::filesystem;

// Code points before each byte.
std::vector<uint32_t> code_point_index(const std::string& text) {
  std::vector<uint32_t> index;
  uint32_t count = 0;
  for (const char byte : text) {
    index.push_back(count);
    if (!utf8::is_continuation(byte)) index.back() = count++;
  }
  index.push_back(count);
  return index;
}

::testing::AssertionResult same(const nlohmann::json& line, const OwnedTokenizer& tokenizer, const Encoding& encoding) {
  const auto fail = [&](const std::string& what) { return ::testing::AssertionFailure() << what << " in " << line.dump().substr(0, 400); };
  const auto text_index = code_point_index(line["text"]);
  const auto pair_index = line.contains("pair") ? code_point_index(line["pair"]) : std::vector<uint32_t>();
  const auto& ids = line["ids"];
  if (ids.size() != encoding.count) return fail("count " + std::to_string(encoding.count) + ", expected " + std::to_string(ids.size()));
  for (uint32_t i = 0; i < encoding.count; ++i) {
    const Token& token = tokenizer.tokens[i];
    const auto& index = token.segment == 0 ? text_index : pair_index;
    const std::string at = " of token " + std::to_string(i);
    if (token.id != ids[i].get<int32_t>()) return fail("id" + at + ": " + std::to_string(token.id));
    const int type = line.contains("type_ids") ? line["type_ids"][i].get<int>() : 0;
    if (token.segment != type) return fail("type id" + at);
    const uint32_t start = token.special ? 0 : index[token.start], end = token.special ? 0 : index[token.end];
    if (start != line["offsets"][i][0].get<uint32_t>() || end != line["offsets"][i][1].get<uint32_t>()) {
      return fail("offsets" + at + ": " + std::to_string(start) + "-" + std::to_string(end));
    }
  }
  return ::testing::AssertionSuccess();
}

// Compares all lines of `directory`/lines*.jsonl.gz with the tokenizer of `model`; returns how many there were.
size_t compare(const fs::path& directory, const fs::path& model) {
  Result<converter::HfTokenizer> read = converter::read_hf_tokenizer(model.string());
  EXPECT_TRUE(read.is_ok()) << read.status().message();
  if (!read) return 0;
  size_t lines = 0, failures = 0;
  OwnedTokenizer tokenizer(read->tables);
  EXPECT_TRUE(tokenizer.result.is_ok()) << tokenizer.result.status().message();
  if (!tokenizer.result) return 0;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.path().filename().string().starts_with("lines")) continue;
    for_each_line(entry.path(), [&](const std::string& text) {
#ifdef PETS_EMULATED  // all are counted, one in eight is compared: parsing the lines takes most of the time
      if (lines++ % 8 != 0) return;
#else
      ++lines;
#endif
      const auto line = nlohmann::json::parse(text);
      const std::string first = line["text"], second = line.value("pair", std::string());
      const uint32_t max_length = line.value("max_length", uint32_t{1} << 17);
      const Result<Encoding> encoding = tokenizer.encode_any(first, second, line.contains("pair"), max_length);
      const bool equal = encoding.is_ok() && same(line, tokenizer, *encoding);
      if (!equal && ++failures <= 5) {
        ADD_FAILURE() << directory << ": "
                      << (encoding.is_ok() ? std::string(same(line, tokenizer, *encoding).message())
                                           : std::string(encoding.status().message()));
      }
    });
  }
  EXPECT_EQ(failures, 0u) << "of " << lines << " lines of " << directory;
  return lines;
}

TEST(TokenizerGolden, EveryVariantEqualsTheLibraryLineByLine) {
  size_t lines = 0, variants = 0;
  for (const auto& entry : fs::directory_iterator(golden_directory())) {
    if (!entry.is_directory() || !fs::exists(entry.path() / "tokenizer.json")) continue;
    lines += compare(entry.path(), entry.path());
    ++variants;
  }
  EXPECT_GE(variants, 15u);
  EXPECT_GE(lines, 10000u);
  RecordProperty("lines", static_cast<int>(lines));
  std::printf("%zu lines of %zu tokenizers\n", lines, variants);
}

TEST(TokenizerGolden, MiniLmEqualsTheLibraryLineByLine) {
  const char* model = std::getenv("PETS_MINILM_DIR");
  if (model == nullptr) GTEST_SKIP() << "PETS_MINILM_DIR is not set: the directory of MiniLM with its tokenizer.json";
  ASSERT_TRUE(fs::exists(fs::path(model) / "tokenizer.json")) << "PETS_MINILM_DIR=" << model << " holds no tokenizer.json";
  const size_t lines = compare(golden_directory() / "minilm", model);
  EXPECT_GE(lines, 10000u);
  std::printf("%zu lines of MiniLM\n", lines);
}

}  // namespace
}  // namespace pets::tokenizer::testing
