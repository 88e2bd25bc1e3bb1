// read_checkpoint: fine-tuned copies of a base, made here by changing it, and the goldens.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/converter/golden_files.h"

namespace pets::converter::checkpoint_test {
namespace {

using testing::base_model;
using testing::EditedDirectory;
using testing::find_operator;
using testing::golden_base;
using testing::golden_pet;
using testing::is_ok;
using testing::is_refused;
using testing::SafetensorsBuilder;
using testing::source_of;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kConfig = "config.json";

/// A copy of tiny48c with a classifier.
class Checkpoint : public EditedDirectory {
 public:
  Checkpoint() : EditedDirectory(golden_base("tiny48c")) {
    set_key(kConfig, "architectures", {"BertForSequenceClassification"});
    edit_tensors(kWeights, [](SafetensorsBuilder& file) {
      file.set_floats("classifier.weight", {2, 48}, std::vector<float>(96, 0.25F));
      file.set_floats("classifier.bias", {2}, {1, 2});
    });
  }
  /// Applies `edit` to a tensor's values.
  Checkpoint& change(const std::string& name, const std::function<void(std::vector<float>&)>& edit) {
    edit_tensors(kWeights, [&](SafetensorsBuilder& file) {
      auto values = file.floats(name);
      edit(values);
      file.set_floats(name, file.shape(name), values);
    });
    return *this;
  }
  Result<PetTask> read() const { return read_checkpoint(base_model("tiny48c"), source_of(path())); }
  Result<PetTask> read_as_low_rank(uint32_t rank) const {
    PetSource source = source_of(path());
    source.as_low_rank = true;
    source.rank = rank;
    return read_checkpoint(base_model("tiny48c"), source);
  }
};

const std::string kQuery = "encoder.layer.0.attention.self.query.weight";

TEST(Checkpoint, EqualToTheBaseIsAHeadOnly) {
  const Checkpoint checkpoint;
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_TRUE(task->operators.empty());
  EXPECT_EQ(task->source, "checkpoint: encoder unchanged");
  EXPECT_EQ(task->head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(task->head.pooling, Pooling::kPooler);
  ASSERT_EQ(task->head.layers.size(), 1U);
  EXPECT_EQ(task->head.layers[0].bias, (std::vector<float>{1, 2}));
}

TEST(Checkpoint, ChangedBiasesAndNormsReplaceTheBases) {
  Checkpoint checkpoint;
  checkpoint.change("encoder.layer.0.intermediate.dense.bias", [](auto& values) { values[3] += 1; });
  checkpoint.change("embeddings.LayerNorm.weight", [](auto& values) { values[0] *= 2; });
  checkpoint.change("encoder.layer.0.output.LayerNorm.bias", [](auto& values) { values[0] += 2; });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "checkpoint: bias, norm");
  EXPECT_EQ(task->operators.size(), 3U);
  EXPECT_EQ(find_operator<BiasOperator>(*task, "layer.0.ffn.up")->value[3], base_model("tiny48c").encoder[0].up.bias[3] + 1);
  const auto* gamma = find_operator<NormOperator>(*task, "embeddings.norm");
  EXPECT_EQ(gamma->gamma[0], base_model("tiny48c").embeddings_norm.gamma[0] * 2);
  EXPECT_TRUE(gamma->beta.empty());
  EXPECT_TRUE(find_operator<NormOperator>(*task, "layer.0.ffn.norm")->gamma.empty());
}

TEST(Checkpoint, FewChangedWeightsAreASortedSparseDifference) {
  Checkpoint checkpoint;
  checkpoint.change(kQuery, [](auto& values) {
    values[47 * 48 + 1] += 0.5F;
    values[5] = 0;  // zeroed beside changed ones: sparse for all
    values[100] -= 0.25F;
  });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  const auto* sparse = find_operator<SparseOperator>(*task, "layer.0.attention.query");
  ASSERT_NE(sparse, nullptr);
  EXPECT_EQ(sparse->out, (std::vector<uint32_t>{0, 2, 47}));
  EXPECT_EQ(sparse->in, (std::vector<uint32_t>{5, 4, 1}));
  EXPECT_EQ(sparse->values[0], -base_model("tiny48c").encoder[0].query.weight.values[5]);
  EXPECT_FLOAT_EQ(sparse->values[2], 0.5F);
  EXPECT_EQ(find_operator<MaskOperator>(*task, "layer.0.attention.query"), nullptr);
}

TEST(Checkpoint, ZeroedWeightsAreAMaskHoweverMany) {
  Checkpoint checkpoint;
  const uint64_t in = base_model("tiny48c").intermediate;
  checkpoint.change("encoder.layer.0.output.dense.weight", [&](auto& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % in % 2 == 0) values[i] = 0;
    }
  });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "checkpoint: mask");
  const auto* mask = find_operator<MaskOperator>(*task, "layer.0.ffn.down");
  ASSERT_NE(mask, nullptr);
  const uint64_t row_bytes = (in + 7) / 8;
  ASSERT_EQ(mask->bits.size(), 48 * row_bytes);
  for (uint64_t out = 0; out < 48; ++out) {
    for (uint64_t i = 0; i < row_bytes * 8; ++i) {  // input 0 is the lowest bit; spare bits are 0
      EXPECT_EQ((mask->bits[out * row_bytes + i / 8] >> (i % 8)) & 1, i < in && i % 2 == 1) << out << " " << i;
    }
  }
}

TEST(Checkpoint, ManyZeroedWeightsBesideFewChangedOnesAreAMaskAndASparseDifference) {
  Checkpoint checkpoint;
  checkpoint.change(kQuery, [](auto& values) {
    for (size_t i = 0; i < values.size(); i += 2) values[i] = 0;
    values[47 * 48 + 1] += 0.5F;
    values[101] -= 0.25F;
  });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "checkpoint: sparse, mask");
  const auto* mask = find_operator<MaskOperator>(*task, "layer.0.attention.query");
  ASSERT_NE(mask, nullptr);
  EXPECT_EQ(mask->bits, std::vector<uint8_t>(48 * 6, 0xAA));  // what changed is kept, and added to
  const auto* sparse = find_operator<SparseOperator>(*task, "layer.0.attention.query");
  ASSERT_NE(sparse, nullptr);
  EXPECT_EQ(sparse->out, (std::vector<uint32_t>{2, 47}));
  EXPECT_EQ(sparse->in, (std::vector<uint32_t>{5, 1}));
  EXPECT_FLOAT_EQ(sparse->values[0], -0.25F);
  EXPECT_FLOAT_EQ(sparse->values[1], 0.5F);
}

TEST(Checkpoint, ChangedEmbeddingRowsAreReplaced) {
  Checkpoint checkpoint;
  checkpoint.change("embeddings.word_embeddings.weight", [](auto& values) {
    values[7 * 48] += 1;
    values[3 * 48 + 47] += 1;
  });
  checkpoint.change("embeddings.token_type_embeddings.weight", [](auto& values) {
    for (float& value : values) value += 1;
  });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  const auto* rows = find_operator<ReplacedRowsOperator>(*task, "embeddings.word");
  ASSERT_NE(rows, nullptr);
  EXPECT_EQ(rows->rows, (std::vector<uint32_t>{3, 7}));
  EXPECT_EQ(rows->values.rows, 2U);
  EXPECT_EQ(rows->values.columns, 48U);
  EXPECT_EQ(rows->values.values[47], base_model("tiny48c").word_embeddings.values[3 * 48 + 47] + 1);
  EXPECT_EQ(find_operator<ReplacedRowsOperator>(*task, "embeddings.token_type")->rows, (std::vector<uint32_t>{0, 1}));
}

TEST(Checkpoint, ADenseDifferenceIsRefusedWithItsSize) {
  Checkpoint checkpoint;
  checkpoint.change(kQuery, [](auto& values) {
    for (size_t i = 0; i < 346; ++i) values[i] += 1;  // 15.02 %
  });
  EXPECT_TRUE(is_refused(checkpoint.read(), kQuery, "346 of 2304", "15.0 %", "9216 bytes", "as: low-rank"));
  Checkpoint fewer;
  fewer.change(kQuery, [](auto& values) {
    for (size_t i = 0; i < 345; ++i) values[i] += 1;
  });
  EXPECT_TRUE(is_ok(fewer.read()));
  Checkpoint embeddings;
  embeddings.change("embeddings.word_embeddings.weight", [](auto& values) {
    for (float& value : values) value += 1;
  });
  EXPECT_TRUE(is_refused(embeddings.read(), "word_embeddings", "(100.0 %"));
  EXPECT_TRUE(is_ok(embeddings.read_as_low_rank(1)));
}

TEST(Checkpoint, ADenseDifferenceMayBeApproximatedAndSaysWhatRemains) {
  Checkpoint checkpoint;
  checkpoint.change(kQuery, [](auto& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const auto o = static_cast<double>(i / 48), j = static_cast<double>(i % 48);
      values[i] += static_cast<float>(std::sin(o) * std::cos(2 * j) + 0.01 * std::sin(3 * o + 1) * std::sin(5 * j));
    }
  });
  const auto exact = checkpoint.read_as_low_rank(2);
  ASSERT_TRUE(is_ok(exact));
  const auto* low_rank = find_operator<LowRankOperator>(*exact, "layer.0.attention.query");
  ASSERT_NE(low_rank, nullptr);
  EXPECT_EQ(low_rank->scale, 1);
  EXPECT_EQ(low_rank->a.rows, 2U);
  double value = 0;
  for (size_t r = 0; r < 2; ++r) {
    value += static_cast<double>(low_rank->b.values[9 * 2 + r]) * static_cast<double>(low_rank->a.values[r * 48 + 4]);
  }
  EXPECT_NEAR(value, std::sin(9) * std::cos(8) + 0.01 * std::sin(28) * std::sin(20), 1e-5);
  const auto rough = checkpoint.read_as_low_rank(1);
  ASSERT_TRUE(is_ok(rough));
  EXPECT_NE(rough->source.find("low_rank (approximated: "), std::string::npos) << rough->source;
  EXPECT_NE(rough->source.find("layer.0.attention.query"), std::string::npos) << rough->source;
  EXPECT_TRUE(is_refused(checkpoint.read_as_low_rank(0), "rank"));
}

TEST(Checkpoint, IsComparedInItsOwnPrecision) {
  for (const char* dtype : {"F16", "BF16"}) {
    Checkpoint checkpoint;
    checkpoint.change("encoder.layer.0.intermediate.dense.bias", [](auto& values) { values[3] = 2; });
    checkpoint.edit_tensors(kWeights, [&](SafetensorsBuilder& file) { file.convert_floats(dtype); });
    const auto task = checkpoint.read();
    ASSERT_TRUE(is_ok(task));
    EXPECT_EQ(task->source, "checkpoint: bias") << dtype;
    // What was not trained is the base's own value, not its rounded copy.
    std::vector<float> expected = base_model("tiny48c").encoder[0].up.bias;
    expected[3] = 2;
    EXPECT_EQ(find_operator<BiasOperator>(*task, "layer.0.ffn.up")->value, expected) << dtype;
    EXPECT_EQ(task->head.pooling, Pooling::kPooler) << dtype;
  }
}

TEST(Checkpoint, AChangedPoolerIsTheTasksOwn) {
  Checkpoint checkpoint;
  checkpoint.change("pooler.dense.bias", [](auto& values) { values[0] += 1; });
  const auto task = checkpoint.read();
  ASSERT_TRUE(is_ok(task));
  EXPECT_TRUE(task->operators.empty());
  EXPECT_EQ(task->head.pooling, Pooling::kCls);
  ASSERT_EQ(task->head.layers.size(), 2U);
  EXPECT_EQ(task->head.layers[0].activation, Activation::kTanh);
  EXPECT_EQ(task->head.layers[0].bias[0], base_model("tiny48c").pooler->bias[0] + 1);
}

TEST(Checkpoint, HeadsFollowArchitectureProblemAndLabels) {
  Checkpoint labelled;
  labelled.set_key(kConfig, "id2label", {{"0", "bad"}, {"1", "good"}});
  EXPECT_EQ(labelled.read()->head.labels, (std::vector<std::string>{"bad", "good"}));
  labelled.set_key(kConfig, "problem_type", "multi_label_classification");
  EXPECT_EQ(labelled.read()->head.type, HeadType::kMultiLabelClassification);
  labelled.set_key(kConfig, "architectures", {"BertForTokenClassification"});
  EXPECT_EQ(labelled.read()->head.type, HeadType::kTokenClassification);
  labelled.set_key(kConfig, "architectures", {"BertForMultipleChoice"});
  EXPECT_TRUE(is_refused(labelled.read(), "BertForMultipleChoice"));
  labelled.set_key(kConfig, "architectures", {"BertForQuestionAnswering"});
  EXPECT_TRUE(is_refused(labelled.read(), "qa_outputs"));
  EXPECT_EQ(read_checkpoint(base_model("tiny48c"), source_of(golden_pet("ckpt-qa")))->head.type, HeadType::kQuestionAnswering);
  EXPECT_EQ(read_checkpoint(base_model("tiny48c"), source_of(golden_pet("ckpt-regression")))->head.type, HeadType::kRegression);
}

TEST(Checkpoint, OfAnEncoderMayBeAnEmbedding) {
  EditedDirectory directory(golden_base("tiny48c"));
  EXPECT_TRUE(is_refused(read_checkpoint(base_model("tiny48c"), source_of(directory.path())), "head"));
  PetSource source = source_of(directory.path(), HeadType::kEmbedding);
  source.head.pooling = Pooling::kMean;
  const auto task = read_checkpoint(base_model("tiny48c"), source);
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->head.type, HeadType::kEmbedding);
}

TEST(Checkpoint, OfAnotherModelIsRefusedByTheFirstDifference) {
  EXPECT_TRUE(is_refused(read_checkpoint(base_model("tiny48c"), source_of(golden_base("tiny48"))), "num_hidden_layers", "3", "1"));
  const std::pair<const char*, nlohmann::ordered_json> keys[] = {
      {"num_attention_heads", 4}, {"hidden_act", "relu"},          {"layer_norm_eps", 1e-5},   {"vocab_size", 300},
      {"type_vocab_size", 3},     {"max_position_embeddings", 65}, {"intermediate_size", 100},
  };
  for (const auto& [key, value] : keys) {
    Checkpoint checkpoint;
    checkpoint.set_key(kConfig, key, value);
    EXPECT_TRUE(is_refused(checkpoint.read(), "config.json", key)) << key;
  }
  Checkpoint activation;
  activation.set_key(kConfig, "hidden_act", "swish");
  EXPECT_TRUE(is_refused(activation.read(), "silu", "gelu"));  // transformers' names
  Checkpoint checkpoint;
  checkpoint.edit_json("tokenizer.json", [](auto& object) { object["model"]["max_input_chars_per_word"] = 7; });
  EXPECT_TRUE(is_refused(checkpoint.read(), "tokenizer"));
}

TEST(Checkpoint, AccountsForEveryTensor) {
  const auto with = [](const std::function<void(SafetensorsBuilder&)>& edit) {
    Checkpoint checkpoint;
    checkpoint.edit_tensors(kWeights, edit);
    return checkpoint.read();
  };
  EXPECT_TRUE(
      is_refused(with([](auto& file) { file.set_floats("encoder.layer.0.gate.weight", {1}, {1}); }), "encoder.layer.0.gate.weight"));
  EXPECT_TRUE(is_refused(with([](auto& file) { file.set_floats("encoder.layer.1.output.dense.bias", {1}, {1}); }),
                         "encoder.layer.1.output.dense.bias"));
  EXPECT_TRUE(is_refused(with([](auto& file) { file.erase("encoder.layer.0.output.dense.bias"); }), "encoder.layer.0.output.dense.bias",
                         "missing"));
  EXPECT_TRUE(is_refused(with([](auto& file) { file.set_floats("classifier.extra.weight", {1}, {1}); }), "classifier.extra.weight"));
  EXPECT_TRUE(is_refused(with([](auto& file) { file.erase("pooler.dense.bias"); }), "pooler.dense.bias", "missing"));
  EXPECT_TRUE(is_refused(with([](auto& file) {
                           file.set_floats("classifier.weight", {2, 47}, std::vector<float>(94));
                         }),
                         "[2, 47]", "[2, 48]"));
  EXPECT_TRUE(is_refused(with([](auto& file) { file.erase("classifier.weight"); }), "classifier"));
  EXPECT_TRUE(is_refused(with([](auto& file) {
                           auto values = file.floats(kQuery);
                           values[9] = std::nanf("");
                           file.set_floats(kQuery, {48, 48}, values);
                         }),
                         kQuery, "NaN"));
  EXPECT_TRUE(is_ok(with([](auto& file) { file.set_floats("cls.predictions.bias", {1}, {1}); })));
}

TEST(Checkpoint, KindsOfPetsAreToldApart) {
  const std::pair<const char*, const char*> goldens[] = {
      {"ckpt-bitfit", "checkpoint: bias, norm"},
      {"ckpt-norms", "checkpoint: norm"},
      {"ckpt-diff-pruning", "checkpoint: sparse"},
      {"ckpt-mask", "checkpoint: mask"},
      {"ckpt-mixed", "checkpoint: bias, norm, sparse, mask"},
      {"ckpt-rows", "checkpoint: replaced rows"},
      {"ckpt-unchanged", "checkpoint: encoder unchanged"},
  };
  for (const auto& [name, expected] : goldens) {
    const auto task = read_checkpoint(base_model("tiny48c"), source_of(golden_pet(name)));
    ASSERT_TRUE(is_ok(task)) << name;
    EXPECT_EQ(task->source, expected) << name;
  }
}

}  // namespace
}  // namespace pets::converter::checkpoint_test
