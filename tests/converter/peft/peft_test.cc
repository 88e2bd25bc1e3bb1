// read_peft on the goldens and on copies with one thing wrong. That the logits are the library's is proven by `verify --against`.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/converter/golden_files.h"

#include "converter/huggingface/bert_names.h"

namespace pets::converter::peft_test {
namespace {

using testing::base_model;
using testing::EditedDirectory;
using testing::find_operator;
using testing::golden_pet;
using testing::is_ok;
using testing::is_refused;
using testing::SafetensorsBuilder;
using testing::source_of;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
const std::string kLayer = "base_model.model.bert.encoder.layer.";

Result<PetTask> read(const std::string& pet, const std::string& base = "tiny48") {
  return read_peft(base_model(base), source_of(golden_pet(pet)));
}
SafetensorsBuilder tensors_of(const std::string& pet) { return SafetensorsBuilder::from_file(golden_pet(pet) + "/" + kWeights); }

TEST(PeftLora, BecomesLowRanksAndAHeadOverTheBasesPooler) {
  const auto task = read("lora-qv");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "peft LORA");
  ASSERT_EQ(task->operators.size(), 6U);
  const auto* low_rank = find_operator<LowRankOperator>(*task, "layer.2.attention.value");
  ASSERT_NE(low_rank, nullptr);
  const SafetensorsBuilder file = tensors_of("lora-qv");
  EXPECT_EQ(low_rank->a.values, file.floats(kLayer + "2.attention.self.value.lora_A.weight"));
  EXPECT_EQ(low_rank->b.values, file.floats(kLayer + "2.attention.self.value.lora_B.weight"));
  EXPECT_EQ(low_rank->a.rows, 4U);
  EXPECT_EQ(low_rank->a.columns, 48U);
  EXPECT_EQ(low_rank->b.rows, 48U);
  EXPECT_EQ(low_rank->scale, 6.0 / 4);
  EXPECT_EQ(task->head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(task->head.pooling, Pooling::kPooler);
  ASSERT_EQ(task->head.layers.size(), 1U);
  EXPECT_EQ(task->head.layers[0].weight.values, file.floats("base_model.model.classifier.weight"));
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
}

TEST(PeftLora, TakesRankAndAlphaFromThePatterns) {
  const auto task = read("lora-all-sites");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->operators.size(), 18U);
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.0.attention.query")->scale, 6.0 / 2);
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.1.ffn.up")->scale, 6.0 / 7);
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.0.ffn.down")->scale, 11.0 / 4);
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.1.ffn.down")->scale, 6.0 / 4);
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.2.attention.value")->scale, 3.0 / 4);
  const auto stabilized = read("lora-rslora");
  ASSERT_TRUE(is_ok(stabilized));
  EXPECT_EQ(find_operator<LowRankOperator>(*stabilized, "layer.0.attention.query")->scale, 5 / std::sqrt(9.0));
  EXPECT_EQ(find_operator<LowRankOperator>(*stabilized, "layer.2.attention.query")->scale, 5 / std::sqrt(3.0));
}

TEST(PeftLora, ReplacesBiasesAsItsConfigSays) {
  const auto only = read("lora-bias-only");
  ASSERT_TRUE(is_ok(only));
  EXPECT_EQ(find_operator<BiasOperator>(*only, "layer.1.attention.query")->value,
            tensors_of("lora-bias-only").floats(kLayer + "1.attention.self.query.base_layer.bias"));
  EXPECT_EQ(find_operator<BiasOperator>(*only, "layer.1.attention.key"), nullptr);

  const auto all = read("lora-bias-all");
  ASSERT_TRUE(is_ok(all));
  const SafetensorsBuilder file = tensors_of("lora-bias-all");
  EXPECT_EQ(find_operator<BiasOperator>(*all, "layer.1.attention.query")->value, file.floats(kLayer + "1.attention.self.query.bias"));
  const auto* norm = find_operator<NormOperator>(*all, "embeddings.norm");
  ASSERT_NE(norm, nullptr);
  EXPECT_TRUE(norm->gamma.empty());
  EXPECT_EQ(norm->beta, file.floats("base_model.model.bert.embeddings.LayerNorm.bias"));
  // The pooler's bias changed: the pooler is the task's own now.
  EXPECT_EQ(all->head.pooling, Pooling::kCls);
  ASSERT_EQ(all->head.layers.size(), 2U);
  EXPECT_EQ(all->head.layers[0].activation, Activation::kTanh);
  EXPECT_EQ(all->head.layers[0].weight.values, base_model("tiny48").pooler->weight.values);
  EXPECT_EQ(all->head.layers[0].bias, file.floats("base_model.model.bert.pooler.dense.bias"));
  EXPECT_EQ(all->head.layers[1].bias, file.floats("base_model.model.classifier.bias"));
}

TEST(PeftLora, ScalesABiasOfItsOwn) {
  const auto task = read("lora-lora-bias");
  ASSERT_TRUE(is_ok(task));
  const auto own = tensors_of("lora-lora-bias").floats(kLayer + "0.attention.self.query.lora_B.bias");
  const auto* bias = find_operator<BiasOperator>(*task, "layer.0.attention.query");
  ASSERT_NE(bias, nullptr);
  const auto& base = base_model("tiny48").encoder[0].query.bias;
  for (size_t i = 0; i < own.size(); ++i) EXPECT_FLOAT_EQ(bias->value[i], base[i] + 1.5F * own[i]);
}

TEST(PeftLora, MergesIntoThePoolerThatItTargets) {
  const auto task = read("lora-pooler-target");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->operators.size(), 3U);
  EXPECT_EQ(task->head.pooling, Pooling::kCls);
  ASSERT_EQ(task->head.layers.size(), 2U);
  const SafetensorsBuilder file = tensors_of("lora-pooler-target");
  const auto a = file.floats("base_model.model.bert.pooler.dense.lora_A.weight");
  const auto b = file.floats("base_model.model.bert.pooler.dense.lora_B.weight");
  double expected = static_cast<double>(base_model("tiny48").pooler->weight.values[5 * 48 + 7]);
  for (size_t r = 0; r < 4; ++r) expected += 1.5 * static_cast<double>(b[5 * 4 + r]) * static_cast<double>(a[r * 48 + 7]);
  EXPECT_FLOAT_EQ(task->head.layers[0].weight.values[5 * 48 + 7], static_cast<float>(expected));
}

TEST(PeftLora, ReadsOtherPrecisionsNormsAndSavedPoolers) {
  EXPECT_TRUE(is_ok(read("lora-fp16")));
  EXPECT_TRUE(is_ok(read("lora-bf16")));
  const auto norms = read("lora-norms-saved");
  ASSERT_TRUE(is_ok(norms));
  EXPECT_FALSE(find_operator<NormOperator>(*norms, "layer.1.ffn.norm")->gamma.empty());
  for (const char* pet : {"lora-pooler-saved", "lora-pooler-dense-saved"}) {
    const auto saved = read(pet);
    ASSERT_TRUE(is_ok(saved));
    EXPECT_EQ(saved->head.pooling, Pooling::kCls);
    EXPECT_EQ(saved->head.layers[0].weight.values, tensors_of(pet).floats("base_model.model.bert.pooler.dense.weight"));
  }
}

/// peft loads a rounded norm as it is, even where the base's would round to the same.
TEST(PeftLora, TakesSavedNormsAsTheFileRoundsThem) {
  const auto& gamma = base_model("tiny48").encoder[1].ffn_norm.gamma;
  EditedDirectory directory(golden_pet("lora-norms-saved"));
  directory.edit_tensors(kWeights, [&](auto& file) {
    file.set_floats(kLayer + "1.output.LayerNorm.weight", {48}, gamma);
    file.convert_floats("BF16");
  });
  const auto task = read_peft(base_model("tiny48"), source_of(directory.path()));
  ASSERT_TRUE(is_ok(task));
  const auto* norm = find_operator<NormOperator>(*task, "layer.1.ffn.norm");
  ASSERT_NE(norm, nullptr);
  ASSERT_EQ(norm->gamma.size(), 48U);
  EXPECT_NE(norm->gamma, gamma);
  for (size_t i = 0; i < gamma.size(); ++i) EXPECT_NEAR(norm->gamma[i], gamma[i], gamma[i] / 256) << i;
}

TEST(PeftDora, ScalesOutputsByMagnitudeOverNormAndNotTheBias) {
  const auto task = read("dora");
  ASSERT_TRUE(is_ok(task));
  const auto* low_rank = find_operator<LowRankOperator>(*task, "layer.0.ffn.up");
  const auto* scale = find_operator<ScaleOperator>(*task, "layer.0.ffn.up");
  ASSERT_NE(low_rank, nullptr);
  ASSERT_NE(scale, nullptr);
  EXPECT_EQ(find_operator<BiasOperator>(*task, "layer.0.ffn.up"), nullptr);
  EXPECT_TRUE(scale->input.empty());
  ASSERT_EQ(scale->output.size(), 112U);
  const auto magnitude = tensors_of("dora").floats(kLayer + "0.intermediate.dense.lora_magnitude_vector");
  for (const size_t out : {0U, 57U, 111U}) {
    double squares = 0;
    for (size_t in = 0; in < 48; ++in) {
      double weight = static_cast<double>(base_model("tiny48").encoder[0].up.weight.values[out * 48 + in]);
      for (size_t r = 0; r < 4; ++r) {
        weight +=
            low_rank->scale * static_cast<double>(low_rank->b.values[out * 4 + r]) * static_cast<double>(low_rank->a.values[r * 48 + in]);
      }
      squares += weight * weight;
    }
    EXPECT_FLOAT_EQ(scale->output[out], static_cast<float>(static_cast<double>(magnitude[out]) / std::sqrt(squares)));
  }
}

TEST(PeftIa3, ScalesInputsOfFeedForwardModulesAndOutputsWithTheirBias) {
  const auto task = read("ia3");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "peft IA3");
  const SafetensorsBuilder file = tensors_of("ia3");
  const auto* input = find_operator<ScaleOperator>(*task, "layer.1.ffn.down");
  ASSERT_NE(input, nullptr);
  EXPECT_EQ(input->input, file.floats(kLayer + "1.output.dense.ia3_l"));
  EXPECT_TRUE(input->output.empty());
  EXPECT_EQ(find_operator<BiasOperator>(*task, "layer.1.ffn.down"), nullptr);
  const auto* output = find_operator<ScaleOperator>(*task, "layer.1.attention.key");
  const auto* bias = find_operator<BiasOperator>(*task, "layer.1.attention.key");
  ASSERT_NE(output, nullptr);
  ASSERT_NE(bias, nullptr);
  for (size_t i = 0; i < 48; ++i) EXPECT_EQ(bias->value[i], base_model("tiny48").encoder[1].key.bias[i] * output->output[i]);
}

TEST(PeftLayerNormTuning, BecomesNorms) {
  const auto task = read("peft-ln-tuning", "tiny48c");
  ASSERT_TRUE(is_ok(task));
  const auto* norm = find_operator<NormOperator>(*task, "layer.0.ffn.norm");
  ASSERT_NE(norm, nullptr);
  const SafetensorsBuilder file = tensors_of("peft-ln-tuning");
  EXPECT_EQ(norm->gamma, file.floats(kLayer + "0.output.LayerNorm.ln_tuning_layers.weight"));
  EXPECT_EQ(norm->beta, file.floats(kLayer + "0.output.LayerNorm.ln_tuning_layers.bias"));
}

TEST(PeftShira, BecomesSortedSparseDifferences) {
  const auto task = read("peft-shira", "tiny48c");
  ASSERT_TRUE(is_ok(task));
  const auto* sparse = find_operator<SparseOperator>(*task, "layer.0.attention.query");
  ASSERT_NE(sparse, nullptr);
  EXPECT_EQ(sparse->values.size(), 2U * (48 + 48));
  for (size_t i = 1; i < sparse->values.size(); ++i) {
    EXPECT_LT(std::pair(sparse->out[i - 1], sparse->in[i - 1]), std::pair(sparse->out[i], sparse->in[i]));
  }
}

TEST(PeftBeft, AddsToBiases) {
  const auto task = read("peft-beft", "tiny48c");
  ASSERT_TRUE(is_ok(task));
  const auto own = tensors_of("peft-beft").floats(kLayer + "0.attention.self.value.beft_bias");
  const auto* bias = find_operator<BiasOperator>(*task, "layer.0.attention.value");
  ASSERT_NE(bias, nullptr);
  for (size_t i = 0; i < own.size(); ++i) EXPECT_EQ(bias->value[i], base_model("tiny48c").encoder[0].value.bias[i] + own[i]);
}

TEST(PeftHeads, FollowTheTaskType) {
  const auto tokens = read("lora-tokens");
  ASSERT_TRUE(is_ok(tokens));
  EXPECT_EQ(tokens->head.type, HeadType::kTokenClassification);
  EXPECT_EQ(tokens->head.pooling, Pooling::kTokens);
  EXPECT_EQ(tokens->head.labels.size(), 5U);
  const auto regression = read("lora-regression");
  ASSERT_TRUE(is_ok(regression));
  EXPECT_EQ(regression->head.type, HeadType::kRegression);
  const auto answers = read("lora-qa");
  ASSERT_TRUE(is_ok(answers));
  EXPECT_EQ(answers->head.type, HeadType::kQuestionAnswering);
  EXPECT_EQ(find_operator<ReplacedRowsOperator>(*answers, "embeddings.token_type"), nullptr);
}

TEST(PeftHeads, OfPeftsQuestionAnsweringSeeNoTokenTypes) {
  const auto task = read("lora-qa-types-dropped");
  ASSERT_TRUE(is_ok(task));
  const auto* rows = find_operator<ReplacedRowsOperator>(*task, "embeddings.token_type");
  ASSERT_NE(rows, nullptr);
  EXPECT_EQ(rows->rows, std::vector<uint32_t>{1});
  const auto& table = base_model("tiny48").token_type_embeddings.values;
  EXPECT_EQ(rows->values.values, std::vector<float>(table.begin(), table.begin() + 48));
}

TEST(PeftHeads, TakeTypeAndLabelsFromTheManifest) {
  PetSource source = source_of(golden_pet("lora-multilabel"), HeadType::kMultiLabelClassification);
  source.head.labels = {"red", "green", "blue", "dark"};
  const auto task = read_peft(base_model("tiny48"), source);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kMultiLabelClassification);
  EXPECT_EQ(task->head.labels[3], "dark");
  source.head.labels.pop_back();
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source), "4", "3", "labels"));
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source_of(golden_pet("lora-qv"), HeadType::kTokenClassification)),
                         "token-classification"));
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source_of(golden_pet("lora-qv"), HeadType::kEmbedding)), "embedding"));
  PetSource pooled = source_of(golden_pet("lora-qv"));
  pooled.head.pooling = Pooling::kMean;
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), pooled), "mean", "pooler"));
}

TEST(PeftHeads, MayBeAnEmbedding) {
  PetSource source = source_of(golden_pet("lora-bare-model"), HeadType::kEmbedding);
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source), "pooling"));
  source.head.pooling = Pooling::kMean;
  source.head.normalize = true;
  const auto task = read_peft(base_model("tiny48"), source);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.pooling, Pooling::kMean);
  EXPECT_TRUE(task->head.normalize);
  EXPECT_TRUE(task->head.layers.empty());
}

/// read_peft on a copy of lora-qv after its tensors were edited.
Result<PetTask> with_tensors(const std::function<void(SafetensorsBuilder&)>& edit, const char* pet = "lora-qv",
                             const char* base = "tiny48") {
  EditedDirectory directory(golden_pet(pet));
  directory.edit_tensors(kWeights, edit);
  return read_peft(base_model(base), source_of(directory.path()));
}

/// transformers gives a bare model a random pooler where the base has none, and peft saves what it changed of it.
TEST(PeftHeads, NeedThePoolerOnlyIfTheyReadIt) {
  BaseModel base = base_model("tiny48");
  base.pooler.reset();
  EditedDirectory directory(golden_pet("lora-bare-model"));
  directory.edit_json(kConfig, [](auto& config) { config["target_modules"].push_back("pooler.dense"); });
  directory.edit_tensors(kWeights, [](auto& file) {
    file.set_floats("base_model.model.pooler.dense.lora_A.weight", {4, 48}, std::vector<float>(192, 1));
    file.set_floats("base_model.model.pooler.dense.lora_B.weight", {48, 4}, std::vector<float>(192, 1));
  });
  PetSource source = source_of(directory.path(), HeadType::kEmbedding);
  source.head.pooling = Pooling::kMean;
  EXPECT_TRUE(is_ok(read_peft(base, source)));
  source.head.pooling = Pooling::kPooler;
  EXPECT_TRUE(is_refused(read_peft(base, source), "pooler"));
}

/// `bias: all` beside a saved module that contains others: the adapter's name stands inside the names of its parameters.
TEST(PeftHeads, KnowTheInnerNamesOfASavedPooler) {
  const auto with_copy = [](float first) {
    return with_tensors(
        [&](auto& file) {
          std::vector<float> bias = file.floats("base_model.model.bert.pooler.dense.bias");
          file.set_floats("base_model.model.bert.pooler.original_module.dense.bias", {48}, std::vector<float>(48, 7));
          bias[0] += first;
          file.set_floats("base_model.model.bert.pooler.modules_to_save.default.dense.bias", {48}, bias);
        },
        "lora-pooler-saved");
  };
  EXPECT_TRUE(is_ok(with_copy(0)));
  EXPECT_TRUE(is_refused(with_copy(1), "pooler.modules_to_save.default.dense.bias", "different values"));
}

TEST(PeftRefusals, NameTheTensor) {
  const std::string query = kLayer + "1.attention.self.query";
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.erase(query + ".lora_B.weight"); }), query + ".lora_A.weight", "lora_B"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.erase(query + ".lora_A.weight"); }), query + ".lora_B.weight", "lora_A"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats(query + ".lora_A.weight", {4, 47}, std::vector<float>(188));
                         }),
                         query + ".lora_A.weight", "[4, 47]", "[4, 48]"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats(query + ".lora_A.weight", {3, 48}, std::vector<float>(144));
                         }),
                         query + ".lora_A.weight", "[3, 48]", "rank 4"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.set_floats(query + ".lora_C.weight", {1}, {1}); }), query + ".lora_C.weight"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats(query + ".ia3_l", {48, 1}, std::vector<float>(48));
                         }),
                         ".ia3_l", "LORA"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.set_floats(query + ".lora_magnitude_vector", {48}, std::vector<float>(48)); }),
                         "lora_magnitude_vector", "use_dora"));
  EXPECT_TRUE(
      is_refused(with_tensors([&](auto& file) { file.rename(query + ".lora_A.weight", "bert.x.lora_A.weight"); }), "base_model.model."));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats("base_model.model.score.weight", {1, 48}, std::vector<float>(48));
                         }),
                         "score.weight", "no module"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats(kLayer + "0.output.LayerNorm.lora_A.weight", {4, 48}, std::vector<float>(192));
                         }),
                         "LayerNorm", "no linear"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           file.set_floats(query + ".weight", {48, 48}, std::vector<float>(2304));
                         }),
                         query + ".weight"));
  EXPECT_TRUE(
      is_refused(with_tensors([&](auto& file) { file.set_floats(kLayer + "9.attention.self.query.bias", {48}, std::vector<float>(48)); }),
                 "layer 9", "3 layers"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) {
                           auto values = file.floats(query + ".lora_B.weight");
                           values[3] = std::nanf("");
                           file.set_floats(query + ".lora_B.weight", {48, 4}, values);
                         }),
                         query + ".lora_B.weight", "NaN"));
}

/// peft loads no tensor of a module that its configuration leaves out.
TEST(PeftRefusals, NameTensorsThatTheConfigurationLeavesOut) {
  const std::pair<const char*, nlohmann::ordered_json> options[] = {
      {"target_modules", {"value"}}, {"target_modules", ".*value"}, {"exclude_modules", {"query"}}, {"layers_to_transform", {0}}};
  for (const auto& [key, value] : options) {
    EditedDirectory directory(golden_pet("lora-labels"));
    directory.set_key(kConfig, key, value);
    EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source_of(directory.path())), "lora_A.weight", key)) << key;
  }
}

TEST(PeftRefusals, NameHeadsThatDoNotFit) {
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           file.erase("base_model.model.classifier.weight");
                           file.erase("base_model.model.classifier.bias");
                         }),
                         "classifier"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.erase("base_model.model.classifier.weight"); }), "classifier.bias"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           file.set_floats("base_model.model.classifier.weight", {3, 47}, std::vector<float>(141));
                         }),
                         "classifier.weight", "[3, 47]", "[3, 48]"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           file.set_floats("base_model.model.qa_outputs.weight", {2, 48}, std::vector<float>(96));
                         }),
                         "qa_outputs", "two heads"));
  EXPECT_TRUE(is_refused(read("lora-no-pooler", "tiny64"), "pooler"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           file.set_floats("base_model.model.classifier.modules_to_save.bias", {3}, {9, 9, 9});
                         }),
                         "classifier", "different values"));
}

TEST(PeftRefusals, NameWholeModulesAndEmptyFiles) {
  EXPECT_TRUE(is_refused(read("lora-dense-saved"), "attention.self.key.weight", "2304 of 2304", "15 %"));
  EXPECT_TRUE(is_refused(read("lora-embedding-target", "tiny48c"), "word_embeddings", "embedding table"));
  EXPECT_TRUE(is_refused(read("lora-embeddings-saved", "tiny48c"), "word_embeddings"));
  EXPECT_TRUE(is_refused(read("lora-pickled"), "adapter_model.bin", "safe_serialization=True"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           for (const std::string& name : file.names()) {
                             if (name.find("lora") != std::string::npos) file.erase(name);
                           }
                         }),
                         "no tensor of a PET", "LORA"));
  EditedDirectory directory(golden_pet("lora-qv"));
  std::filesystem::remove(directory.file(kWeights));
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source_of(directory.path())), kWeights));
}

TEST(PeftRefusals, NameIa3AndShiraTensorsThatDoNotFit) {
  const std::string key = kLayer + "0.attention.self.key.ia3_l";
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.set_floats(key, {48}, std::vector<float>(48)); }, "ia3"), key, "[48]"));
  const std::string indices = kLayer + "0.attention.self.query.shira_indices";
  const std::string weight = kLayer + "0.attention.self.query.shira_weight";
  const auto shira = [&](const std::vector<int32_t>& places, const std::vector<uint64_t>& shape) {
    return with_tensors(
        [&](auto& file) {
          file.set(indices, "I32", shape, {reinterpret_cast<const char*>(places.data()), places.size() * 4});
          file.set_floats(weight, {2}, {1, 2});
        },
        "peft-shira", "tiny48c");
  };
  EXPECT_TRUE(is_ok(shira({5, 0, 1, 2}, {2, 2})));
  EXPECT_TRUE(is_refused(shira({5, 48, 1, 2}, {2, 2}), "shira_indices", "(48, 2)", "[48, 48]"));
  EXPECT_TRUE(is_refused(shira({5, -1, 1, 2}, {2, 2}), "shira_indices", "(-1, 2)"));
  EXPECT_TRUE(is_refused(shira({5, 5, 1, 1}, {2, 2}), "shira_indices", "(5, 1)", "twice"));
  EXPECT_TRUE(is_refused(shira({5, 5, 1, 2}, {4}), "shira_indices", "[4]", "[2, 2]"));
  EXPECT_TRUE(is_refused(with_tensors([&](auto& file) { file.erase(indices); }, "peft-shira", "tiny48c"), "shira_weight", "shira_indices"));
}

TEST(PeftRefusals, NameADifferentTokenizer) {
  EditedDirectory directory(golden_pet("lora-qv"));
  std::filesystem::copy(testing::golden_base("tiny48") + "/tokenizer.json", directory.file("tokenizer.json"));
  EXPECT_TRUE(is_ok(read_peft(base_model("tiny48"), source_of(directory.path()))));
  directory.edit_json("tokenizer.json", [](auto& object) { object["model"]["max_input_chars_per_word"] = 7; });
  EXPECT_TRUE(is_refused(read_peft(base_model("tiny48"), source_of(directory.path())), "tokenizer", "other ids"));
}

TEST(PeftHeads, MayBeTheBaseDirectorysOwn) {
  EditedDirectory directory(testing::golden_base("tiny48"));
  directory.set_key("config.json", "architectures", {"BertForSequenceClassification"});
  directory.set_key("config.json", "id2label", {{"0", "bad"}, {"1", "good"}});
  directory.edit_tensors("model.safetensors", [](auto& file) {
    file.set_floats("classifier.weight", {2, 48}, std::vector<float>(96, 0.5F));
    file.set_floats("classifier.bias", {2}, {1, 2});
  });
  const auto base = read_base(directory.path());
  ASSERT_TRUE(is_ok(base));
  const auto task = read_peft(*base, source_of(golden_pet("lora-no-head")));
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.layers[0].bias, (std::vector<float>{1, 2}));
  EXPECT_EQ(task->head.labels, (std::vector<std::string>{"bad", "good"}));
}

}  // namespace
}  // namespace pets::converter::peft_test
