// What read_hf_tokenizer makes of the files that people have, and what it refuses by name.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tokenizer/bundled_tokenizer.h"

#include "converter/tokenizer/tokenizer_reader.h"

namespace pets::tokenizer::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((fs::temp_directory_path() / "pets-tokenizer-XXXXXX").string()) {
    created_ = mkdtemp(path_.data()) != nullptr;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (created_) fs::remove_all(path_, ignored);
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(fs::path(path_) / name, std::ios::binary) << text; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool created_ = false;
};

json all_cases() {
  std::ifstream file(fs::path(PETS_SOURCE_DIR) / "tests" / "tokenizer" / "auto_tokenizer_cases.json");
  return json::parse(file)["cases"];
}

TEST(Reader, GivesTheIdsOfAutoTokenizer) {
  const json cases = all_cases();
  EXPECT_GE(cases.size(), 19u);
  for (const json& entry : cases) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    TemporaryDirectory directory;
    for (const auto& [name, text] : entry["files"].items()) directory.write(name, text);
    const auto read = converter::read_hf_tokenizer(directory.path());
    ASSERT_TRUE(read.is_ok()) << read.status().message();
    EXPECT_EQ(read->model_max_length, entry["model_max_length"].get<uint64_t>());
    OwnedTokenizer tokenizer(read->tables);
    ASSERT_TRUE(tokenizer.result.is_ok()) << tokenizer.result.status().message();
    for (const json& line : entry["texts"]) {
      const auto encoding = tokenizer.encode(line["text"].get<std::string>());
      ASSERT_TRUE(encoding.is_ok());
      std::vector<int> ids;
      for (uint32_t i = 0; i < encoding->count; ++i) ids.push_back(tokenizer.tokens[i].id);
      EXPECT_EQ(ids, line["ids"].get<std::vector<int>>()) << line["text"];
    }
  }
}

// A directory with one file changed.
class Files {
 public:
  Files() {
    const json cases = all_cases();
    for (const auto& [name, text] : cases[0]["files"].items()) files_[name] = json::parse(text.get<std::string>());
  }
  json& operator[](const std::string& name) { return files_[name]; }
  Result<converter::HfTokenizer> read() const {
    TemporaryDirectory directory;
    for (const auto& [name, value] : files_) directory.write(name, value.is_string() ? value.get<std::string>() : value.dump());
    return converter::read_hf_tokenizer(directory.path());
  }

 private:
  std::map<std::string, json> files_;
};

void expect_refused(const char* file, const char* pointer, const json& value, const std::string& part_of_message) {
  Files files;
  files[file][json::json_pointer(pointer)] = value;
  const auto read = files.read();
  ASSERT_FALSE(read.is_ok()) << pointer;
  EXPECT_NE(std::string(read.status().message()).find(part_of_message), std::string::npos) << read.status().message();
}

TEST(Reader, RefusesWhatIsNotBertWordPieceByName) {
  const char* const file = "tokenizer.json";
  expect_refused(file, "/model/type", "BPE", "model: `type` is \"BPE\", expected WordPiece");
  expect_refused(file, "/model/dropout", 0.1, "unknown key `dropout`");
  expect_refused(file, "/model/unk_token", "<unk>", "`unk_token` is \"<unk>\", expected an entry of the vocabulary");
  expect_refused(file, "/model/max_input_chars_per_word", -1, "`max_input_chars_per_word` is -1");
  expect_refused(file, "/model/vocab/hello", 0, "is given twice");
  expect_refused(file, "/model/vocab/hello", 4000000000u, "`hello` has id 4000000000");
  expect_refused(file, "/normalizer/type", "Lowercase", "normalizer: `type` is \"Lowercase\", expected BertNormalizer");
  expect_refused(file, "/normalizer/lowercase", "yes", "`lowercase` is \"yes\"");
  expect_refused(file, "/pre_tokenizer/type", "Whitespace", "pre_tokenizer: `type` is \"Whitespace\"");
  expect_refused(file, "/post_processor", nullptr, "`post_processor` is null");
  expect_refused(file, "/post_processor/type", "RobertaProcessing", "post_processor: `type` is \"RobertaProcessing\"");
  expect_refused(file, "/post_processor/pair/3/Sequence/type_id", 0, "post_processor: `pair` is");
  expect_refused(file, "/post_processor/single/0/SpecialToken/id", "[SEP]", "post_processor: `pair` is");
  expect_refused(file, "/post_processor/special_tokens/[CLS]/ids", json::array({2, 3}), "`ids` is [2,3], expected one id");
  expect_refused(file, "/added_tokens/0/lstrip", 1, "added_tokens[0]: `lstrip` is 1");
  expect_refused(file, "/added_tokens/0/color", "red", "added_tokens[0]: unknown key `color`");
  expect_refused(file, "/version", "2.0", "`version` is \"2.0\"");
  expect_refused(file, "/extension", json::object(), "unknown key `extension`");
  expect_refused(file, "/truncation", {{"direction", "Left"}}, "`truncation` is");
}

TEST(Reader, RefusesConfigurationThatItDoesNotKnow) {
  const char* const file = "tokenizer_config.json";
  expect_refused(file, "/tokenizer_class", "RobertaTokenizer", "`tokenizer_class` is \"RobertaTokenizer\"");
  expect_refused(file, "/tokenizer_class", "DistilBertTokenizerFast", "makes no token types");
  expect_refused(file, "/new_option", 1, "unknown key `new_option`");
  expect_refused(file, "/do_lower_case", "yes", "`do_lower_case` is \"yes\"");
  expect_refused(file, "/truncation_side", "left", "`truncation_side` is \"left\"");
  expect_refused(file, "/split_special_tokens", true, "`split_special_tokens` is true");
  expect_refused(file, "/model_input_names", json::array({"input_ids"}), "`model_input_names`");
  expect_refused(file, "/extra_special_tokens", {{"image", "<i>"}}, "`extra_special_tokens`");
  expect_refused(file, "/cls_token", 7, "`cls_token` is 7");
  expect_refused(file, "/model_max_length", -3, "`model_max_length` is -3");
  expect_refused(file, "/added_tokens_decoder", {{"x", json::object()}}, "`added_tokens_decoder` is \"x\"");
}

TEST(Reader, IgnoresStoredTruncationPaddingAndDecoder) {
  Files files;
  const auto plain = files.read();
  files["tokenizer.json"]["truncation"] = {{"max_length", 8}, {"strategy", "LongestFirst"}, {"stride", 0}, {"direction", "Right"}};
  files["tokenizer.json"]["padding"] = {{"strategy", {{"Fixed", 8}}}, {"pad_id", 0}};
  files["tokenizer.json"]["decoder"] = {{"type", "WordPiece"}};
  const auto stored = files.read();
  ASSERT_TRUE(plain.is_ok() && stored.is_ok()) << stored.status().message();
  EXPECT_EQ(plain->fingerprint_text, stored->fingerprint_text);
}

TEST(Reader, FingerprintChangesWithWhateverChangesIds) {
  const std::string plain = Files().read()->fingerprint_text;
  const auto changed = [](const char* file, const char* pointer, const json& value) {
    Files files;
    files[file][json::json_pointer(pointer)] = value;
    const auto read = files.read();
    EXPECT_TRUE(read.is_ok()) << read.status().message();
    return read ? read->fingerprint_text : std::string();
  };
  EXPECT_NE(plain, changed("tokenizer_config.json", "/do_lower_case", false));
  EXPECT_NE(plain, changed("tokenizer_config.json", "/strip_accents", false));
  EXPECT_NE(plain, changed("tokenizer.json", "/model/vocab/another", 30));
  EXPECT_NE(plain, changed("tokenizer.json", "/model/max_input_chars_per_word", 99));
  EXPECT_NE(plain, changed("tokenizer.json", "/normalizer/clean_text", false));
  EXPECT_NE(plain, changed("tokenizer.json", "/added_tokens/4/lstrip", true));
  EXPECT_EQ(plain, changed("tokenizer_config.json", "/strip_accents", nullptr));
  EXPECT_EQ(plain, changed("tokenizer_config.json", "/model_max_length", 100));
}

TEST(Reader, DuplicateKeysAndBrokenFilesAreRefused) {
  Files files;
  std::string text = files["tokenizer.json"].dump();
  files["tokenizer.json"] = text.substr(0, text.size() / 2);
  EXPECT_FALSE(files.read().is_ok());
  text.insert(1, "\"version\":\"1.0\",");
  files["tokenizer.json"] = text;
  const auto read = files.read();
  ASSERT_FALSE(read.is_ok());
  EXPECT_NE(read.status().message().find("duplicate key `version`"), std::string_view::npos) << read.status().message();
}

TEST(Reader, VocabularyTextWithoutTheSpecialTokensIsRefused) {
  TemporaryDirectory directory;
  directory.write("vocab.txt", "[PAD]\n[CLS]\n[SEP]\nhello\n");
  const auto read = converter::read_hf_tokenizer(directory.path());
  ASSERT_FALSE(read.is_ok());
  EXPECT_NE(read.status().message().find("no entry `[UNK]`"), std::string_view::npos) << read.status().message();
  directory.write("vocab.txt", "[UNK]\n\xFF\n");
  EXPECT_FALSE(converter::read_hf_tokenizer(directory.path()).is_ok());
  directory.write("vocab.txt", "");
  EXPECT_FALSE(converter::read_hf_tokenizer(directory.path()).is_ok());
}

TEST(Reader, ADirectoryWithoutTokenizerFilesIsNotFound) {
  TemporaryDirectory directory;
  EXPECT_EQ(converter::read_hf_tokenizer(directory.path()).status().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace pets::tokenizer::testing
