// Heads of AdapterHub directories, flexible and static, and the `none` format's heads.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/converter/golden_files.h"

#include "converter/readers.h"

namespace pets::converter::adapterhub_head_test {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using nlohmann::ordered_json;

constexpr const char* kConfig = "head_config.json";
constexpr const char* kWeights = "model_head.safetensors";

const BaseModel& base() { return base_model("tiny48"); }

Result<PetTask> read(const std::string& path, const HeadRequest& request = {}) {
  PetSource source;
  source.path = path;
  source.head = request;
  return read_adapterhub(base(), source);
}

HeadSpec golden_head(const std::string& name) {
  auto task = read(golden_pet(name));
  EXPECT_TRUE(is_ok(task));
  return task ? task->head : HeadSpec{};
}

Result<PetTask> with_option(const std::string& name, const std::string& key, const ordered_json& value) {
  EditedDirectory pet(golden_pet(name));
  pet.edit_json(kConfig, [&](ordered_json& file) { file["config"][key] = value; });
  return read(pet.path());
}

Result<PetTask> with_key(const std::string& name, const std::string& key, const ordered_json& value) {
  EditedDirectory pet(golden_pet(name));
  pet.set_key(kConfig, key, value);
  return read(pet.path());
}

TEST(AdapterHubHead, ClassificationReadsTheFirstTokenOrThePooler) {
  const HeadSpec head = golden_head("head-2-layers");
  EXPECT_EQ(head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(head.pooling, Pooling::kCls);
  ASSERT_EQ(head.layers.size(), 2U);
  EXPECT_EQ(head.layers[0].activation, Activation::kTanh);
  EXPECT_EQ(head.layers[1].activation, Activation::kNone);
  EXPECT_EQ(head.labels, (std::vector<std::string>{"no", "yes", "may be"}));
  const auto file = SafetensorsBuilder::from_file(golden_pet("head-2-layers") + "/" + kWeights);
  EXPECT_EQ(head.layers[0].weight.values, file.floats("heads.head-2-layers.1.weight"));
  EXPECT_EQ(head.layers[1].bias, file.floats("heads.head-2-layers.4.bias"));

  EXPECT_EQ(golden_head("head-3-layers").layers.size(), 3U);
  EXPECT_EQ(golden_head("head-3-layers").layers[1].activation, Activation::kRelu);
  EXPECT_EQ(golden_head("head-pooler").pooling, Pooling::kPooler);
  EXPECT_EQ(golden_head("head-pooler-2-layers").layers[0].activation, Activation::kGelu);
  EXPECT_EQ(golden_head("head-swish").layers[0].activation, Activation::kSilu);
}

TEST(AdapterHubHead, WithoutAnActivationTheLinearsAreCloser) {
  const HeadSpec head = golden_head("head-no-activation");
  ASSERT_EQ(head.layers.size(), 2U);
  EXPECT_EQ(head.layers[0].activation, Activation::kNone);
  const auto file = SafetensorsBuilder::from_file(golden_pet("head-no-activation") + "/" + kWeights);
  EXPECT_EQ(head.layers[1].weight.values, file.floats("heads.head-no-activation.3.weight"));
}

TEST(AdapterHubHead, OnlyTheLastLayerMayLackItsBias) {
  const HeadSpec head = golden_head("head-no-bias");
  ASSERT_EQ(head.layers.size(), 2U);
  EXPECT_EQ(head.layers[1].bias, std::vector<float>(2, 0.0F));
  EXPECT_NE(head.layers[0].bias, std::vector<float>(48, 0.0F));
}

TEST(AdapterHubHead, EveryTypeIsTold) {
  EXPECT_EQ(golden_head("head-multilabel").type, HeadType::kMultiLabelClassification);
  EXPECT_EQ(golden_head("head-multilabel").labels.size(), 5U);
  EXPECT_EQ(golden_head("head-regression").type, HeadType::kRegression);
  EXPECT_TRUE(golden_head("head-regression").labels.empty());
  EXPECT_EQ(golden_head("head-tagging").type, HeadType::kTokenClassification);
  EXPECT_EQ(golden_head("head-tagging").pooling, Pooling::kTokens);
  EXPECT_EQ(golden_head("head-tagging").labels, (std::vector<std::string>{"O", "B", "I"}));
  EXPECT_EQ(golden_head("head-tagging-2-layers").layers[0].activation, Activation::kLeakyRelu);
  EXPECT_EQ(golden_head("head-qa").type, HeadType::kQuestionAnswering);
  EXPECT_EQ(golden_head("head-qa").pooling, Pooling::kTokens);
  EXPECT_TRUE(golden_head("head-qa").labels.empty());
}

TEST(AdapterHubHead, StaticHeadsAreThoseOfTheirModelClass) {
  const HeadSpec sequence = golden_head("static-sequence");
  EXPECT_EQ(sequence.type, HeadType::kSequenceClassification);
  EXPECT_EQ(sequence.pooling, Pooling::kPooler);
  EXPECT_EQ(sequence.labels, (std::vector<std::string>{"down", "up"}));
  EXPECT_EQ(golden_head("static-tokens").type, HeadType::kTokenClassification);
  EXPECT_EQ(golden_head("static-qa").type, HeadType::kQuestionAnswering);
  HeadRequest request;
  request.type = HeadType::kMultiLabelClassification;
  request.labels = {"a", "b", "c"};
  const auto multilabel = read(golden_pet("static-multilabel"), request);
  ASSERT_TRUE(is_ok(multilabel));
  EXPECT_EQ(multilabel->head.type, HeadType::kMultiLabelClassification);
  EXPECT_EQ(multilabel->head.labels, request.labels);

  EXPECT_TRUE(is_refused(with_key("static-sequence", "model_class", "BertForMultipleChoice"), "model_class", "`BertForMultipleChoice`"));
  EXPECT_TRUE(is_refused(with_key("static-sequence", "num_labels", 3), "num_labels", "2", "3"));
  EXPECT_TRUE(is_refused(with_key("static-sequence", "label2id", {{"a", 0}, {"b", 0}}), "label2id", "`b`"));
  EXPECT_TRUE(is_refused(with_key("static-sequence", "label2id", {{"a", 2}}), "label2id", "`a`", "below 2"));
  EditedDirectory pet(golden_pet("static-sequence"));
  pet.edit_tensors(kWeights, [](SafetensorsBuilder& file) { file.set_floats("dropout.weight", {1}, {1}); });
  EXPECT_TRUE(is_refused(read(pet.path()), kWeights, "`dropout.weight`"));
}

TEST(AdapterHubHead, LabelsComeFromTheFileOrTheManifest) {
  auto task = with_option("head-2-layers", "label2id", nullptr);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
  task = with_option("head-2-layers", "label2id", {{"last", 2}, {"first", 0}});
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"first", "LABEL_1", "last"}));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "label2id", {{"a", 3}}), "label2id", "`a`", "below 3"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "label2id", {{"a", -1}}), "label2id", "`a`"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "label2id", {{"a", 0}, {"b", 0}}), "label2id", "`b`"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "label2id", {1, 2}), "label2id"));
  HeadRequest request;
  request.labels = {"x", "y", "z"};
  task = read(golden_pet("head-2-layers"), request);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.labels, request.labels);
  request.labels.pop_back();
  EXPECT_TRUE(is_refused(read(golden_pet("head-2-layers"), request), "expected 3 labels", "found 2"));
  EXPECT_TRUE(is_refused(read(golden_pet("head-qa"), request), "labels", "question-answering"));
}

TEST(AdapterHubHead, WhatDoesNotFitIsRefused) {
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "layers", 1), "heads.head-2-layers.1.weight", "[3, 48]", "[48, 48]"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "layers", 3), "heads.head-2-layers.4.weight", "[48, 48]", "[3, 48]"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "layers", 0), "layers", "1 or more"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "num_labels", 4), "heads.head-2-layers.4.weight", "[4, 48]"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "bias", false), "heads.head-2-layers.4.bias", "not used"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "activation_function", nullptr), "heads.head-2-layers.3.weight", "missing"));
  EXPECT_TRUE(is_refused(with_option("head-2-layers", "activation_function", "laplace"), "activation_function", "`laplace`"));
  EXPECT_TRUE(is_refused(with_option("head-tagging", "use_pooler", true), "use_pooler", "tagging"));
  for (const char* type : {"multiple_choice", "masked_lm", "causal_lm", "seq2seq_lm", "image_classification", "dependency_parsing"}) {
    EXPECT_TRUE(is_refused(with_option("head-2-layers", "head_type", type), "head_type", type));
  }
  EditedDirectory choices(golden_pet("head-2-layers"));  // what such a head adds must not hide its type
  choices.edit_json(kConfig, [](auto& file) {
    file["config"]["head_type"] = "multiple_choice";
    file["config"]["num_choices"] = 2;
  });
  EXPECT_TRUE(is_refused(read(choices.path()), "head_type", "multiple_choice"));
  EXPECT_TRUE(is_refused(with_option("head-qa", "num_labels", 3), "heads.head-qa.1.weight", "[3, 48]"));
  EXPECT_TRUE(is_refused(with_key("head-2-layers", "num_labels", 3), "num_labels"));
  EXPECT_TRUE(is_refused(with_key("head-2-layers", "model_type", "roberta"), "roberta"));
  EXPECT_TRUE(is_refused(with_key("head-2-layers", "config", 3), "config", "3"));
  EXPECT_TRUE(is_refused(with_key("head-2-layers", "name", "other"), "heads.other.1.weight", "missing"));
  BaseModel without_pooler = base();
  without_pooler.pooler.reset();
  EXPECT_TRUE(is_refused(read_adapterhub(without_pooler, source_of(golden_pet("head-pooler"))), "use_pooler", "no pooler"));
}

TEST(AdapterHubHead, AnAdapterWithoutAHeadIsAnEmbeddingIfTheManifestSaysSo) {
  EditedDirectory pet(golden_pet("houlsby"));
  std::filesystem::remove(pet.file(kConfig));
  EXPECT_TRUE(is_refused(read(pet.path()), "head_config.json"));
  std::filesystem::remove(pet.file(kWeights));
  EXPECT_TRUE(is_refused(read(pet.path()), "no head"));
  HeadRequest request;
  request.type = HeadType::kEmbedding;
  request.pooling = Pooling::kMean;
  const auto task = read(pet.path(), request);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kEmbedding);
  EXPECT_EQ(task->operators.size(), 6U);
  write_file(pet.file("pytorch_model_head.bin"), "");
  EXPECT_TRUE(is_refused(read(pet.path(), request), "pytorch_model_head.bin", "use_safetensors=True"));
}

TEST(AdapterHubHead, AHeadAloneIsATaskOverTheBase) {
  EditedDirectory pet(golden_pet("head-2-layers"));
  std::filesystem::remove(pet.file("adapter_config.json"));
  EXPECT_TRUE(is_refused(read(pet.path()), "adapter_config.json"));
  std::filesystem::remove(pet.file("adapter.safetensors"));
  const auto task = read(pet.path());
  ASSERT_TRUE(is_ok(task));
  EXPECT_TRUE(task->operators.empty());
  EXPECT_EQ(task->source, "adapterhub head");
  EXPECT_EQ(task->head.layers.size(), 2U);
}

TEST(NoneFormat, IsAnEmbeddingOfTheBase) {
  PetSource source;
  EXPECT_TRUE(is_refused(read_none(base(), source), "embedding"));
  source.head.type = HeadType::kEmbedding;
  EXPECT_TRUE(is_refused(read_none(base(), source), "pooling"));
  source.head.pooling = Pooling::kMean;
  source.head.normalize = true;
  const auto task = read_none(base(), source);
  ASSERT_TRUE(is_ok(task));
  EXPECT_TRUE(task->operators.empty());
  EXPECT_EQ(task->head.type, HeadType::kEmbedding);
  EXPECT_EQ(task->head.pooling, Pooling::kMean);
  EXPECT_TRUE(task->head.normalize);
  source.head.type = HeadType::kSequenceClassification;
  EXPECT_FALSE(read_none(base(), source));
}

TEST(NoneFormat, TakesTheClassifierOfTheBasesDirectory) {
  EditedDirectory directory(golden_base("tiny48"));
  PetSource source = source_of(directory.path());
  EXPECT_TRUE(is_refused(read_none(base(), source), "head"));
  directory.edit_tensors("model.safetensors", [](SafetensorsBuilder& file) {
    file.set_floats("classifier.weight", {3, 48}, std::vector<float>(144, 0.5F));
    file.set_floats("classifier.bias", {3}, {1, 2, 3});
  });
  directory.edit_json("config.json", [](ordered_json& config) {
    config["architectures"] = {"BertForSequenceClassification"};
    config["id2label"] = {{"0", "a"}, {"1", "b"}, {"2", "c"}};
    config["label2id"] = {{"a", 0}, {"b", 1}, {"c", 2}};
  });
  const auto task = read_none(base(), source);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(task->head.pooling, Pooling::kPooler);
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"a", "b", "c"}));
  ASSERT_EQ(task->head.layers.size(), 1U);
  EXPECT_EQ(task->head.layers[0].bias, (std::vector<float>{1, 2, 3}));
}

}  // namespace
}  // namespace pets::converter::adapterhub_head_test
