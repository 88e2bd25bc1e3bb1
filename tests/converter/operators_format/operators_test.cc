// The `operators` format: one small file a test, over a golden base of hidden 48, FFN 112, 3 layers.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/converter/golden_files.h"

#include "converter/model/check_task.h"
#include "converter/readers.h"

namespace pets::converter {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr const char* kFile = "pet_operators.safetensors";
constexpr const char* kEmbedding = R"({"head": {"type": "embedding", "pooling": "mean"}})";

template <typename Value>
std::string raw(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

/// Values that differ, none of them 0.
std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = 0.25F + static_cast<float>(i) * 0.5F;
  return values;
}

class OperatorsFile : public ::testing::Test {
 protected:
  OperatorsFile() {
    file_.set_metadata("format", "pets-operators");
    file_.set_metadata("version", "1");
    file_.set_metadata("config", kEmbedding);
  }

  void floats(const std::string& name, const std::vector<uint64_t>& shape) {
    uint64_t count = 1;
    for (const uint64_t size : shape) count *= size;
    file_.set_floats(name, shape, ramp(count));
  }
  void integers(const std::string& name, const std::vector<uint64_t>& shape, const std::vector<int32_t>& values) {
    file_.set(name, "I32", shape, raw(values));
  }
  void config(const std::string& text) { file_.set_metadata("config", text); }

  Result<PetTask> read(const HeadRequest& request = {}) {
    file_.write(directory_.file(kFile));
    PetSource source;
    source.path = directory_.path();
    source.head = request;
    auto task = read_operators(base(), source);
    if (task) {
      task->name = "task";
      task->max_length = base().positions;
      EXPECT_TRUE(is_ok(check_task(base(), *task)));
    }
    return task;
  }

  static const BaseModel& base() { return base_model("tiny48"); }

  TemporaryDirectory directory_;
  SafetensorsBuilder file_;
};

TEST_F(OperatorsFile, ReadsEveryKindAtALinear) {
  const std::string site = "layer.1.ffn.up:";
  floats(site + "bias.value", {112});
  floats(site + "low_rank.a", {3, 48});
  floats(site + "low_rank.b", {112, 3});
  integers(site + "sparse.indices", {2, 3}, {5, 5, 1, 7, 2, 47});
  floats(site + "sparse.values", {3});
  std::string bits(112 * 6, '\x55');
  file_.set(site + "mask.bits", "U8", {112, 6}, bits);
  floats(site + "scale.input", {48});
  floats(site + "scale.output", {112});
  config(R"({"source": "test", "operators": {"layer.1.ffn.up": {"low_rank": {"scale": 0.5}, "mask": {}}},
             "head": {"type": "embedding", "pooling": "cls", "normalize": true}})");
  const auto task = read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "operators");
  EXPECT_EQ(task->operators.size(), 5U);
  EXPECT_EQ(find_operator<BiasOperator>(*task, "layer.1.ffn.up")->value, ramp(112));
  const auto* low_rank = find_operator<LowRankOperator>(*task, "layer.1.ffn.up");
  EXPECT_EQ(low_rank->scale, 0.5);
  EXPECT_EQ(low_rank->a.rows, 3U);
  EXPECT_EQ(low_rank->b.values, ramp(336));
  const auto* sparse = find_operator<SparseOperator>(*task, "layer.1.ffn.up");
  EXPECT_EQ(sparse->out, (std::vector<uint32_t>{1, 5, 5}));
  EXPECT_EQ(sparse->in, (std::vector<uint32_t>{47, 2, 7}));
  EXPECT_EQ(sparse->values, (std::vector<float>{1.25F, 0.75F, 0.25F}));
  const auto* mask = find_operator<MaskOperator>(*task, "layer.1.ffn.up");
  EXPECT_EQ(mask->bits[671], 0x55);
  const auto* scale = find_operator<ScaleOperator>(*task, "layer.1.ffn.up");
  EXPECT_EQ(scale->input, ramp(48));
  EXPECT_EQ(scale->output, ramp(112));
  EXPECT_EQ(task->head.pooling, Pooling::kCls);
  EXPECT_TRUE(task->head.normalize);
}

TEST_F(OperatorsFile, ReadsNormsRowsAndPartsThatAreOptional) {
  floats("embeddings.norm:norm.gamma", {48});
  floats("layer.0.ffn.norm:norm.beta", {48});
  floats("layer.0.attention.key:scale.output", {48});
  integers("embeddings.position:sparse.rows", {2}, {9, 4});
  floats("embeddings.position:sparse.values", {2, 48});
  integers("layer.2.attention.value:sparse.indices", {2, 0}, {});
  floats("layer.2.attention.value:sparse.values", {0});
  const auto task = read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_TRUE(find_operator<NormOperator>(*task, "embeddings.norm")->beta.empty());
  EXPECT_TRUE(find_operator<NormOperator>(*task, "layer.0.ffn.norm")->gamma.empty());
  EXPECT_TRUE(find_operator<ScaleOperator>(*task, "layer.0.attention.key")->input.empty());
  const auto* rows = find_operator<ReplacedRowsOperator>(*task, "embeddings.position");
  EXPECT_EQ(rows->rows, (std::vector<uint32_t>{4, 9}));
  EXPECT_EQ(rows->values.values[0], ramp(96)[48]);
  EXPECT_EQ(rows->values.values[48], ramp(96)[0]);
}

TEST_F(OperatorsFile, ReadsBottlenecksWithEveryOption) {
  const std::string site = "layer.0.ffn:bottleneck.";
  for (const char* bare : {"layer.0.ffn:bottleneck.", "layer.1.attention:bottleneck."}) {
    floats(bare + std::string("down.weight"), {5, 48});
    floats(bare + std::string("down.bias"), {5});
    floats(bare + std::string("up.weight"), {48, 5});
    floats(bare + std::string("up.bias"), {48});
  }
  for (const char* norm : {"ln_before", "ln_after"}) {
    floats(site + norm + ".gamma", {48});
    floats(site + norm + ".beta", {48});
  }
  floats(site + "scaling", {48});
  config(R"({"operators": {"layer.0.ffn": {"bottleneck": {"activation": "gelu_new", "parallel": true, "original_ln_before": true,
             "original_ln_after": false, "residual_before_ln": "post_add", "adapter_residual_before_ln": true}}},
             "head": {"type": "embedding", "pooling": "mean"}})");
  const auto task = read();
  ASSERT_TRUE(is_ok(task));
  const auto* full = find_operator<BottleneckOperator>(*task, "layer.0.ffn");
  EXPECT_EQ(full->activation, Activation::kGeluTanh);
  EXPECT_TRUE(full->parallel && full->original_norm_before && !full->original_norm_after && full->adapter_residual_before_norm);
  EXPECT_EQ(full->residual_before_norm, schema::ResidualBeforeNorm::kPostAdd);
  EXPECT_TRUE(full->norm_before.has_value() && full->norm_after.has_value());
  EXPECT_EQ(full->channel_scaling, ramp(48));
  const auto* plain = find_operator<BottleneckOperator>(*task, "layer.1.attention");
  EXPECT_EQ(plain->activation, Activation::kRelu);
  EXPECT_TRUE(!plain->parallel && !plain->original_norm_before && plain->original_norm_after && !plain->adapter_residual_before_norm);
  EXPECT_EQ(plain->residual_before_norm, schema::ResidualBeforeNorm::kBase);
  EXPECT_EQ(plain->scaling, 1.0F);
  EXPECT_TRUE(plain->channel_scaling.empty() && !plain->norm_before && !plain->norm_after);
}

TEST_F(OperatorsFile, ScalingOfABottleneckIsANumberOrATensor) {
  const std::string site = "layer.0.ffn:bottleneck.";
  floats(site + "down.weight", {5, 48});
  floats(site + "down.bias", {5});
  floats(site + "up.weight", {48, 5});
  floats(site + "up.bias", {48});
  const auto with_option = [](const std::string& options) {
    return R"({"operators": {"layer.0.ffn": {"bottleneck": )" + options + R"(}}, "head": {"type": "embedding", "pooling": "mean"}})";
  };
  config(with_option(R"({"scaling": 2.5})"));
  EXPECT_EQ(find_operator<BottleneckOperator>(*read(), "layer.0.ffn")->scaling, 2.5F);
  floats(site + "scaling", {1});
  EXPECT_TRUE(is_refused(read(), "bottleneck.scaling", "twice"));
  config(with_option("{}"));
  EXPECT_EQ(find_operator<BottleneckOperator>(*read(), "layer.0.ffn")->scaling, 0.25F);
  floats(site + "scaling", {7});
  EXPECT_TRUE(is_refused(read(), "bottleneck.scaling", "[1] or [48]", "[7]"));
  file_.erase(site + "scaling");
  config(with_option(R"({"scaling": "learned"})"));
  EXPECT_TRUE(is_refused(read(), "scaling", "\"learned\"", "a number"));
  config(with_option(R"({"activation": "gelu_10"})"));
  EXPECT_TRUE(is_refused(read(), "layer.0.ffn:bottleneck.activation", "gelu_10"));
  config(with_option(R"({"residual_before_ln": "pre_add"})"));
  EXPECT_TRUE(is_refused(read(), "residual_before_ln", "pre_add"));
  config(with_option(R"({"use_gating": false})"));
  EXPECT_TRUE(is_refused(read(), "use_gating"));
}

TEST_F(OperatorsFile, ReadsHeads) {
  floats("head:0.weight", {20, 48});
  floats("head:0.bias", {20});
  floats("head:1.weight", {3, 20});
  floats("head:1.bias", {3});
  config(
      R"({"head": {"type": "sequence-classification", "pooling": "pooler", "layers": [{"activation": "tanh"}, {}], "labels": ["a", "b", "c"]}})");
  auto task = read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(task->head.pooling, Pooling::kPooler);
  ASSERT_EQ(task->head.layers.size(), 2U);
  EXPECT_EQ(task->head.layers[0].activation, Activation::kTanh);
  EXPECT_EQ(task->head.layers[1].activation, Activation::kNone);
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"a", "b", "c"}));

  config(R"({"head": {"type": "token-classification"}})");
  task = read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.pooling, Pooling::kTokens);
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
}

TEST_F(OperatorsFile, TheRequestOfTheManifestIsLaidOverTheHead) {
  floats("head:0.weight", {2, 48});
  floats("head:0.bias", {2});
  config(R"({"head": {"type": "sequence-classification", "pooling": "cls", "labels": ["a", "b"]}})");
  HeadRequest request;
  request.labels = {"no", "yes"};
  request.type = HeadType::kMultiLabelClassification;
  const auto task = read(request);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kMultiLabelClassification);
  EXPECT_EQ(task->head.labels, request.labels);

  request.labels = {"one"};
  EXPECT_TRUE(is_refused(read(request), kFile, "expected 2 labels", "found 1"));
  request = {};
  request.type = HeadType::kRegression;
  EXPECT_TRUE(is_refused(read(request), "regression", "1 output", "found 2"));
  request.type = HeadType::kTokenClassification;
  EXPECT_TRUE(is_refused(read(request), "token-classification", "sequence-classification"));
  request.type = HeadType::kEmbedding;
  EXPECT_TRUE(is_refused(read(request), "embedding", "sequence-classification"));
  request = {};
  request.pooling = Pooling::kMean;
  EXPECT_TRUE(is_refused(read(request), "mean", "cls"));
  request = {};
  request.normalize = true;
  EXPECT_TRUE(is_refused(read(request), "normalize", "sequence-classification"));
}

TEST_F(OperatorsFile, AFileWithoutAHeadIsAnEmbeddingIfTheManifestSaysSo) {
  floats("layer.0.attention.query:bias.value", {48});
  config("{}");
  EXPECT_TRUE(is_refused(read(), kFile, "no head"));
  HeadRequest request;
  request.type = HeadType::kEmbedding;
  EXPECT_TRUE(is_refused(read(request), kFile, "pooling"));
  request.pooling = Pooling::kMean;
  request.normalize = true;
  const auto task = read(request);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.pooling, Pooling::kMean);
  EXPECT_TRUE(task->head.normalize);
  EXPECT_TRUE(task->head.layers.empty());
}

TEST_F(OperatorsFile, MalformedHeadsAreRefused) {
  floats("head:0.weight", {2, 48});
  floats("head:0.bias", {2});
  const auto head = [&](const std::string& text) {
    config("{\"head\": " + text + "}");
    return read();
  };
  EXPECT_TRUE(is_refused(head(R"({"type": "ner", "pooling": "cls"})"), "head", "`ner`", "token-classification"));
  EXPECT_TRUE(is_refused(head(R"({"type": "regression"})"), "head", "pooling"));
  EXPECT_TRUE(is_refused(head(R"({"type": "regression", "pooling": "max"})"), "pooling", "`max`"));
  EXPECT_TRUE(is_refused(head(R"({"type": "regression", "pooling": "tokens"})"), "pooling", "`tokens`"));
  EXPECT_TRUE(is_refused(head(R"({"type": "question-answering", "pooling": "cls"})"), "pooling", "`cls`"));
  EXPECT_TRUE(is_refused(head(R"({"type": "regression", "pooling": "cls"})"), "1 output"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "labels": ["a"]})"), "2 labels"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "labels": [1, 2]})"), "labels", "1"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "labels": "ab"})"), "labels", "\"ab\""));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "layers": [{}, {}]})"), "layers", "1", "2"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "layers": [3]})"), "layers[0]", "3"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "layers": [{"act": 1}]})"), "`act`"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "layers": [{"activation": "x"}]})"), "`x`"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "normalize": true})"), "normalize"));
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls", "dropout": 0})"), "`dropout`"));
  EXPECT_TRUE(is_refused(head("[]"), "head", "[]"));
  config("{}");
  EXPECT_TRUE(is_refused(read(), "`head:0.bias`"));
  file_.erase("head:0.bias");
  EXPECT_TRUE(is_refused(head(R"({"type": "sequence-classification", "pooling": "cls"})"), "`head:0.bias`", "missing"));
}

TEST_F(OperatorsFile, MetadataIsChecked) {
  floats("layer.0.attention.query:bias.value", {48});
  EXPECT_TRUE(is_ok(read()));
  file_.set_metadata("format", "pt");
  EXPECT_TRUE(is_refused(read(), kFile, "`format`", "`pets-operators`", "`pt`"));
  file_.erase_metadata("format");
  EXPECT_TRUE(is_refused(read(), kFile, "no `format`"));
  file_.set_metadata("format", "pets-operators");
  file_.set_metadata("version", "2");
  EXPECT_TRUE(is_refused(read(), kFile, "`version`", "`1`", "`2`"));
  file_.set_metadata("version", "1");
  file_.set_metadata("author", "me");
  EXPECT_TRUE(is_refused(read(), kFile, "`author`"));
  file_.erase_metadata("author");
  for (const char* text :
       {"", "[]", "{", "{\"head\": {}, \"head\": {}}", "{\"operators\": []}", "{\"operators\": {\"layer.0.attention.query\": 1}}"}) {
    config(text);
    EXPECT_TRUE(is_refused(read(), kFile, "config")) << text;
  }
  config(R"({"operators": {"layer.0.attention.key": {"bias": {}}}})");
  EXPECT_TRUE(is_refused(read(), "`bias`", "`layer.0.attention.key`", "no tensors"));
  config(R"({"operators": {"layer.0.attention.query": {"bias": 1}}})");
  EXPECT_TRUE(is_refused(read(), "layer.0.attention.query", "`bias`", "1"));
}

TEST_F(OperatorsFile, NamesThatTheFormatDoesNotHaveAreRefused) {
  for (const std::string name : {"bias", "layer.0.attention.query", "layer.0.attention.query.bias:value", "layer.0.attention.query:bias",
                                 "layer.3.attention.query:bias.value", "layer.00.attention.query:bias.value", "pooler:bias.value",
                                 "layer.0.attention.query:prefix.value", "layer.0.attention.query:norm.beta", "layer.0.ffn.norm:bias.value",
                                 "layer.0.ffn:low_rank.a", "embeddings.word:bias.value", "head:x", "layer.0.attention.query:bias.values",
                                 "layer.0.attention.query:norm.gamma", "head:0.weight"}) {
    SafetensorsBuilder file;
    std::swap(file_, file);
    file_.set_metadata("format", "pets-operators");
    file_.set_metadata("version", "1");
    file_.set_metadata("config", R"({"head": {"type": "token-classification"}})");
    floats(name, {48});
    EXPECT_FALSE(read()) << name;
  }
}

TEST_F(OperatorsFile, ShapesTypesAndIndicesAreChecked) {
  const auto only = [&](const std::string& name, const std::string& dtype, const std::vector<uint64_t>& shape, const std::string& data) {
    file_.set(name, dtype, shape, data);
    auto task = read();
    file_.erase(name);
    return task;
  };
  const std::string site = "layer.0.attention.query:";
  EXPECT_TRUE(is_refused(only(site + "bias.value", "F32", {47}, std::string(188, '\0')), "bias.value", "[48]", "[47]"));
  EXPECT_TRUE(is_refused(only(site + "bias.value", "I32", {48}, std::string(192, '\0')), "bias.value", "I32"));
  EXPECT_TRUE(is_refused(only(site + "mask.bits", "U8", {48, 5}, std::string(240, '\0')), "mask.bits", "[48, 6]", "[48, 5]"));
  EXPECT_TRUE(is_refused(only(site + "mask.bits", "I8", {48, 6}, std::string(288, '\0')), "mask.bits", "U8", "I8"));
  EXPECT_TRUE(is_refused(only("layer.0.ffn.norm:norm.mean", "F32", {48}, std::string(192, '\0')), "norm.mean"));
  EXPECT_TRUE(is_refused(only(site + "low_rank.a", "F32", {0, 48}, ""), "low_rank.a", "[any, 48]", "[0, 48]"));
  floats(site + "low_rank.a", {2, 48});
  floats(site + "low_rank.b", {48, 3});
  EXPECT_TRUE(is_refused(read(), "low_rank.b", "[48, 2]", "[48, 3]"));
  file_.erase(site + "low_rank.b");
  EXPECT_TRUE(is_refused(read(), "low_rank.b", "missing"));
  file_.erase(site + "low_rank.a");

  floats(site + "sparse.values", {2});
  for (const auto& [indices, message] : std::vector<std::pair<std::vector<int32_t>, std::string>>{
           {{1, 1, 5, 5}, "twice"}, {{1, 48, 5, 5}, "outside"}, {{1, 2, 5, 48}, "outside"}, {{-1, 2, 5, 5}, "outside"}}) {
    integers(site + "sparse.indices", {2, 2}, indices);
    EXPECT_TRUE(is_refused(read(), "sparse.indices", message));
  }
  integers(site + "sparse.indices", {4}, {1, 2, 3, 4});
  EXPECT_TRUE(is_refused(read(), "sparse.indices", "[2, any]", "[4]"));
  file_.erase(site + "sparse.indices");
  file_.erase(site + "sparse.values");

  floats("embeddings.token_type:sparse.values", {2, 48});
  for (const auto& [rows, message] : std::vector<std::pair<std::vector<int32_t>, std::string>>{
           {{1, 1}, "twice"}, {{0, 2}, "outside of a table of 2"}, {{-1, 0}, "outside"}}) {
    integers("embeddings.token_type:sparse.rows", {2}, rows);
    EXPECT_TRUE(is_refused(read(), "sparse.rows", message));
  }
}

TEST_F(OperatorsFile, SpareBitsOfAMaskAreZero) {
  // 100 inputs of tiny64's FFN: the last byte of a row has 4 spare bits.
  const BaseModel& odd = base_model("tiny64");
  ASSERT_EQ(odd.intermediate % 8, 4U);
  std::string bits(64 * 13, '\x0F');
  file_.set("layer.0.ffn.down:mask.bits", "U8", {64, 13}, bits);
  file_.write(directory_.file(kFile));
  EXPECT_TRUE(is_ok(read_operators(odd, source_of(directory_.path()))));
  bits[13 * 3 + 12] = '\x1F';
  file_.set("layer.0.ffn.down:mask.bits", "U8", {64, 13}, bits);
  file_.write(directory_.file(kFile));
  EXPECT_TRUE(is_refused(read_operators(odd, source_of(directory_.path())), "mask.bits", "row 3", "input 99"));
}

TEST_F(OperatorsFile, GoldenFilesAreRead) {
  const auto task = read_operators(base(), source_of(golden_pet("op-everything")));
  ASSERT_TRUE(is_ok(task));
  EXPECT_GT(task->operators.size(), 5U);
  EXPECT_TRUE(is_refused(read_operators(base(), source_of("/no/such/pet")), "/no/such/pet/pet_operators.safetensors"));
}

}  // namespace
}  // namespace pets::converter
