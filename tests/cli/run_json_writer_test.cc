// JsonLinesWriter: what each head prints.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/cli/json_writer.h"

namespace pets::cli {
namespace {

class JsonLinesWriterTest : public ::testing::Test {
 protected:
  JsonLinesWriterTest() {
    line_.id = "1.0";
    answer_.task = &task_;
    task_.name = "t";
  }
  void head(HeadType head, std::vector<std::string> labels) {
    task_.head = head;
    task_.labels = std::move(labels);
  }
  void numbers(std::vector<float> logits, std::vector<float> scores = {}) {
    logits_ = std::move(logits);
    scores_ = std::move(scores);
    answer_.logits = logits_;
    answer_.scores = scores_;
  }
  std::string write(bool logits = false) {
    Output out;
    answered_ = JsonLinesWriter(out, logits).write(line_, answer_);
    return std::string(out.buffered());
  }

  QueryLine line_;
  TaskInfo task_;
  Answer answer_;
  std::vector<float> logits_;
  std::vector<float> scores_;
  bool answered_ = false;
};

TEST_F(JsonLinesWriterTest, Classification) {
  head(HeadType::kSequenceClassification, {"neg", "p\"os"});
  numbers({-1.5F, 2}, {0.25F, 0.75F});
  EXPECT_EQ(write(), "{\"id\":1.0,\"task\":\"t\",\"label\":\"p\\\"os\",\"scores\":{\"neg\":0.25,\"p\\\"os\":0.75}}\n");
  EXPECT_TRUE(answered_);
  answer_.truncated = true;
  EXPECT_EQ(write(true),
            "{\"id\":1.0,\"task\":\"t\",\"label\":\"p\\\"os\",\"scores\":{\"neg\":0.25,\"p\\\"os\":0.75},\"truncated\":true,\"logits\":[-1."
            "5,2]}\n");
}

TEST_F(JsonLinesWriterTest, MissingLabelNamesAndIds) {
  line_.id = {};
  head(HeadType::kSequenceClassification, {});
  numbers({0.5F, 0.5F}, {0.5F, 0.5F});
  EXPECT_EQ(write(), "{\"task\":\"t\",\"label\":\"LABEL_0\",\"scores\":{\"LABEL_0\":0.5,\"LABEL_1\":0.5}}\n");
}

TEST_F(JsonLinesWriterTest, MultiLabelTakesWhatIsAboveOneHalf) {
  head(HeadType::kMultiLabelClassification, {"a", "b", "c"});
  numbers({1, 0, 2}, {0.75F, 0.5F, 0.875F});
  EXPECT_EQ(write(), "{\"id\":1.0,\"task\":\"t\",\"labels\":[\"a\",\"c\"],\"scores\":{\"a\":0.75,\"b\":0.5,\"c\":0.875}}\n");
}

TEST_F(JsonLinesWriterTest, RegressionIsANumberOrSeveral) {
  head(HeadType::kRegression, {});
  numbers({0.1F});
  EXPECT_EQ(write(true), "{\"id\":1.0,\"task\":\"t\",\"value\":0.1,\"logits\":[0.1]}\n");
  numbers({0.1F, 3e-20F});
  EXPECT_EQ(write(), "{\"id\":1.0,\"task\":\"t\",\"value\":[0.1,3e-20]}\n");
}

TEST_F(JsonLinesWriterTest, Embedding) {
  head(HeadType::kEmbedding, {});
  numbers({1, -0.0F});
  EXPECT_EQ(write(true), "{\"id\":1.0,\"task\":\"t\",\"embedding\":[1,-0],\"logits\":[1,-0]}\n");
}

TEST_F(JsonLinesWriterTest, TokensCountCodePointsAndLeaveSpecialOnesOut) {
  head(HeadType::kTokenClassification, {"O", "X"});
  line_.text = "\xC3\xA9t\xC3\xA9 \xF0\x9F\x98\x80";
  line_.text_pair = "\xC3\xA9z";
  const std::vector<AnswerToken> tokens = {
      {0, 0, 0, true, 101}, {0, 5, 0, false, 5}, {6, 10, 0, false, 6}, {0, 0, 0, true, 102}, {2, 3, 1, false, 7}};
  answer_.tokens = tokens;
  numbers({0, 0, 1, 2, 3, 2, 0, 0, 1, 2}, {0, 0, 0.25F, 0.75F, 0.75F, 0.25F, 0, 0, 0, 1});
  EXPECT_EQ(write(true),
            "{\"id\":1.0,\"task\":\"t\",\"tokens\":["
            "{\"start\":0,\"end\":3,\"text\":\"\xC3\xA9t\xC3\xA9\",\"label\":\"X\",\"score\":0.75},"
            "{\"start\":4,\"end\":5,\"text\":\"\xF0\x9F\x98\x80\",\"label\":\"O\",\"score\":0.75},"
            "{\"start\":1,\"end\":2,\"text\":\"z\",\"label\":\"X\",\"score\":1}],"
            "\"logits\":[[0,0],[1,2],[3,2],[0,0],[1,2]]}\n");
}

TEST_F(JsonLinesWriterTest, AnswerSpan) {
  head(HeadType::kQuestionAnswering, {});
  line_.text = "q";
  line_.text_pair = "\xC3\xA9 is \xE2\x82\xAC\"";
  numbers({1, 2, 3, 4, 5, 6});
  answer_.span = {true, 6, 10, 7.25F};
  EXPECT_EQ(write(true),
            "{\"id\":1.0,\"task\":\"t\",\"answer\":{\"text\":\"\xE2\x82\xAC\\\"\",\"start\":5,\"end\":7,\"score\":7.25},\"logits\":[[1,2,3]"
            ",[4,5,6]]}\n");
  answer_.span = {};
  EXPECT_EQ(write(), "{\"id\":1.0,\"task\":\"t\",\"answer\":null}\n");
}

TEST_F(JsonLinesWriterTest, WhatIsNotFiniteIsAnError) {
  head(HeadType::kRegression, {});
  numbers({std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(write(), "{\"id\":1.0,\"error\":\"the result holds a number that is not finite (a logit)\"}\n");
  EXPECT_FALSE(answered_);
  numbers({1}, {std::numeric_limits<float>::infinity()});
  EXPECT_EQ(write(), "{\"id\":1.0,\"error\":\"the result holds a number that is not finite (a score)\"}\n");
}

TEST_F(JsonLinesWriterTest, FailedAnswersPrintTheirStatus) {
  answer_.task = nullptr;
  answer_.status = Status::error(ErrorCode::kNotFound, "no task \"x\"\n\x01\xFF");
  EXPECT_EQ(write(), "{\"id\":1.0,\"error\":\"no task \\\"x\\\"??\xEF\xBF\xBD\"}\n");
  EXPECT_FALSE(answered_);
}

TEST(JsonNumber, ReadsBackAsTheSameFloat) {
  uint32_t bits = 1;
  for (int i = 0; i < 200'000; ++i) {
    bits = bits * 1664525U + 1013904223U;
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    Output out;
    write_json_number(out, value);
    const std::string text(out.buffered());
    ASSERT_TRUE(nlohmann::json::accept(text)) << text;
    const float back = std::strtof(text.c_str(), nullptr);
    ASSERT_EQ(std::memcmp(&back, &value, sizeof back), 0) << text;
    ASSERT_LE(text.size(), 16U);
  }
}

TEST(JsonString, RoundTripsEveryCodePoint) {
  Output out;
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\xC2\x80\xEF\xBF\xBF\xF4\x8F\xBF\xBF\xE2\x80\xA8";
  write_json_string(out, all);
  EXPECT_EQ(nlohmann::json::parse(out.buffered()).get<std::string>(), all);
}

}  // namespace
}  // namespace pets::cli
