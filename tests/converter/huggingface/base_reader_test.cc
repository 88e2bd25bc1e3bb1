// read_base on the golden directories and on copies with one thing wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/converter/golden_files.h"

#include "converter/huggingface/bert_names.h"

namespace pets::converter::base_reader_test {
namespace {

using testing::base_model;
using testing::EditedDirectory;
using testing::golden_base;
using testing::is_ok;
using testing::is_refused;
using testing::SafetensorsBuilder;

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

TEST(BaseReader, ReadsABertModelDirectory) {
  const BaseModel& base = base_model("tiny48");
  EXPECT_EQ(base.source, "tiny48");
  EXPECT_EQ(base.hidden, 48U);
  EXPECT_EQ(base.layers, 3U);
  EXPECT_EQ(base.heads, 3U);
  EXPECT_EQ(base.intermediate, 112U);
  EXPECT_EQ(base.positions, 96U);
  EXPECT_EQ(base.token_types, 2U);
  EXPECT_EQ(base.norm_epsilon, 1e-12F);
  EXPECT_EQ(base.activation, Activation::kGelu);
  ASSERT_EQ(base.encoder.size(), 3U);
  EXPECT_EQ(base.word_embeddings.rows, base.vocabulary);
  EXPECT_EQ(base.encoder[2].up.weight.rows, 112U);
  EXPECT_EQ(base.encoder[2].up.weight.columns, 48U);
  EXPECT_EQ(base.encoder[2].up.bias.size(), 112U);
  ASSERT_TRUE(base.pooler.has_value());
  EXPECT_TRUE(base.has_tokenizer);
  EXPECT_EQ(base.tokenizer.tables.vocabulary.size(), base.vocabulary);
  EXPECT_EQ(base.fingerprint.size(), 32U);
  // A value lands where its name says.
  const SafetensorsBuilder file = SafetensorsBuilder::from_file(golden_base("tiny48") + "/model.safetensors");
  EXPECT_EQ(base.encoder[1].value.weight.values, file.floats("encoder.layer.1.attention.self.value.weight"));
  EXPECT_EQ(base.encoder[2].ffn_norm.beta, file.floats("encoder.layer.2.output.LayerNorm.bias"));
}

TEST(BaseReader, ReadsTaskModelsShardsOldNamesAndHalves) {
  EXPECT_FALSE(base_model("tiny64").pooler.has_value());  // BertForMaskedLM
  EXPECT_EQ(base_model("tiny64r").activation, Activation::kRelu);
  EXPECT_EQ(base_model("tiny64r").encoder.size(), 2U);
  EXPECT_EQ(base_model("tiny48old").activation, Activation::kGeluTanh);
  EXPECT_TRUE(base_model("tiny48old").pooler.has_value());
  EXPECT_EQ(base_model("tiny64h").hidden, 64U);  // F16
}

TEST(BaseReader, SitesNameTheirWeights) {
  const BaseModel& base = base_model("tiny48");
  EXPECT_EQ(base.linear({SiteKind::kFfnDown, 1}), &base.encoder[1].down);
  EXPECT_EQ(base.linear({SiteKind::kPooler, 0}), &*base.pooler);
  EXPECT_EQ(base.linear({SiteKind::kFfnDown, 3}), nullptr);
  EXPECT_EQ(base.linear({SiteKind::kFfnNorm, 0}), nullptr);
  EXPECT_EQ(base.norm({SiteKind::kEmbeddingsNorm, 0}), &base.embeddings_norm);
  EXPECT_EQ(base.norm({SiteKind::kAttentionNorm, 2}), &base.encoder[2].attention_norm);
  EXPECT_EQ(base.norm({SiteKind::kFfnUp, 0}), nullptr);
}

TEST(BaseFingerprint, IgnoresPrefixesShardsOldNamesHeadsAndBookkeeping) {
  const std::string& expected = base_model("tiny48").fingerprint;
  EditedDirectory prefixed(golden_base("tiny48"));
  prefixed.edit_tensors(kWeights, [](SafetensorsBuilder& file) {
    for (const std::string& name : file.names()) {
      std::string renamed = "bert." + name;
      if (const size_t at = renamed.find("LayerNorm.weight"); at != std::string::npos) renamed.replace(at, 16, "LayerNorm.gamma");
      if (const size_t at = renamed.find("LayerNorm.bias"); at != std::string::npos) renamed.replace(at, 14, "LayerNorm.beta");
      file.rename(name, renamed);
    }
    file.set_floats("classifier.weight", {2, 48}, std::vector<float>(96, 1.0F));
    file.set_floats("classifier.bias", {2}, {1, 2});
    file.set_floats("cls.predictions.bias", {1}, {std::nanf("")});
    file.set("bert.embeddings.position_ids", "I64", {1, 1}, std::string(8, '\0'));
  });
  prefixed.set_key(kConfig, "transformers_version", "4.0").set_key(kConfig, "hidden_dropout_prob", 0.5);
  const auto read = read_base(prefixed.path());
  ASSERT_TRUE(is_ok(read));
  EXPECT_EQ(read->fingerprint, expected);
  ASSERT_TRUE(read->own_head.has_value());
  EXPECT_EQ(read->own_head->bias, (std::vector<float>{1, 2}));

  EditedDirectory sharded(golden_base("tiny48"));
  const SafetensorsBuilder whole = SafetensorsBuilder::from_file(sharded.file(kWeights));
  SafetensorsBuilder parts[2];
  nlohmann::json index;
  for (size_t i = 0; i < whole.names().size(); ++i) {
    const std::string name = whole.names()[i];
    parts[i % 2].set_floats(name, whole.shape(name), whole.floats(name));
    index["weight_map"][name] = "part" + std::to_string(i % 2) + ".safetensors";
  }
  for (int i = 0; i < 2; ++i) parts[i].write(sharded.file("part" + std::to_string(i) + ".safetensors"));
  testing::write_file(sharded.file(kIndex), index.dump());
  std::filesystem::remove(sharded.file(kWeights));
  const auto from_shards = read_base(sharded.path());
  ASSERT_TRUE(is_ok(from_shards));
  EXPECT_EQ(from_shards->fingerprint, expected);
}

TEST(BaseFingerprint, SeesEveryValueTheConfigurationAndTheTokenizer) {
  const std::string& expected = base_model("tiny48c").fingerprint;
  EditedDirectory value(golden_base("tiny48c"));
  value.edit_tensors(kWeights, [](SafetensorsBuilder& file) {
    auto values = file.floats("pooler.dense.bias");
    values[7] = std::nextafterf(values[7], 1e9F);
    file.set_floats("pooler.dense.bias", {48}, values);
  });
  EXPECT_NE(read_base(value.path())->fingerprint, expected);
  EditedDirectory config(golden_base("tiny48c"));
  config.set_key(kConfig, "layer_norm_eps", 1e-11);
  EXPECT_NE(read_base(config.path())->fingerprint, expected);
  EditedDirectory activation(golden_base("tiny48c"));
  activation.set_key(kConfig, "hidden_act", "gelu_new");
  EXPECT_NE(read_base(activation.path())->fingerprint, expected);
  EditedDirectory heads(golden_base("tiny48c"));
  heads.set_key(kConfig, "num_attention_heads", 4);
  EXPECT_NE(read_base(heads.path())->fingerprint, expected);
  EditedDirectory tokenizer(golden_base("tiny48c"));
  tokenizer.edit_json("tokenizer.json", [](nlohmann::ordered_json& object) { object["model"]["max_input_chars_per_word"] = 7; });
  EXPECT_NE(read_base(tokenizer.path())->fingerprint, expected);
}

/// read_base on tiny48c after one key of config.json was changed.
Result<BaseModel> with_config(const std::string& key, const nlohmann::ordered_json& value) {
  EditedDirectory directory(golden_base("tiny48c"));
  directory.set_key(kConfig, key, value);
  return read_base(directory.path());
}

TEST(BaseConfig, RefusesOtherModelsAndOptionsByName) {
  EXPECT_TRUE(is_refused(with_config("model_type", "roberta"), "config.json", "`roberta`", "`bert`"));
  EXPECT_TRUE(is_refused(with_config("position_embedding_type", "relative_key"), "config.json", "position_embedding_type", "relative_key"));
  EXPECT_TRUE(is_refused(with_config("is_decoder", true), "is_decoder"));
  EXPECT_TRUE(is_refused(with_config("add_cross_attention", true), "add_cross_attention"));
  EXPECT_TRUE(is_refused(with_config("pruned_heads", {{"0", {1}}}), "pruned_heads"));
  EXPECT_TRUE(is_refused(with_config("quantization_config", {{"bits", 4}}), "quantization_config"));
  EXPECT_TRUE(is_refused(with_config("hidden_act", "laplace"), "hidden_act", "laplace"));
  EXPECT_TRUE(is_refused(with_config("frobnicate", 1), "config.json", "unknown key `frobnicate`"));
}

TEST(BaseConfig, RefusesImpossibleNumbers) {
  EXPECT_TRUE(is_refused(with_config("hidden_size", 0), "hidden_size"));
  EXPECT_TRUE(is_refused(with_config("hidden_size", -48), "hidden_size"));
  EXPECT_TRUE(is_refused(with_config("hidden_size", 48.5), "hidden_size"));
  EXPECT_TRUE(is_refused(with_config("num_hidden_layers", 1e9), "num_hidden_layers"));
  EXPECT_TRUE(is_refused(with_config("num_attention_heads", 5), "hidden_size", "48", "num_attention_heads", "5"));
  EXPECT_TRUE(is_refused(with_config("layer_norm_eps", 0), "layer_norm_eps"));
  EXPECT_TRUE(is_refused(with_config("layer_norm_eps", "small"), "layer_norm_eps"));
  EXPECT_TRUE(is_refused(with_config("pad_token_id", 1000000), "pad_token_id"));
  EXPECT_TRUE(is_refused(with_config("architectures", "BertModel"), "architectures"));
  EXPECT_TRUE(is_refused(with_config("id2label", {{"0", "a"}, {"2", "b"}}), "id2label"));
}

TEST(BaseConfig, ReadsWhatItSaysOfAHead) {
  EditedDirectory directory(golden_base("tiny48c"));
  directory.edit_json(kConfig, [](nlohmann::ordered_json& object) {
    object["architectures"] = {"BertForSequenceClassification"};
    object["id2label"] = {{"1", "good"}, {"0", "bad"}};
    object["label2id"] = {{"bad", 0}, {"good", 1}};
    object["problem_type"] = "single_label_classification";
    object["pad_token_id"] = nullptr;
  });
  const auto base = read_base(directory.path());
  ASSERT_TRUE(is_ok(base));
  EXPECT_EQ(base->id2label, (std::vector<std::string>{"bad", "good"}));
  EXPECT_EQ(base->problem_type, "single_label_classification");
  EXPECT_EQ(base->architecture, "BertForSequenceClassification");
  EXPECT_EQ(base->pad_id, 0U);
  const auto counted = with_config("num_labels", 2);
  ASSERT_TRUE(is_ok(counted));
  EXPECT_EQ(counted->id2label, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
}

/// read_base on tiny48c after its tensors were edited.
Result<BaseModel> with_tensors(const std::function<void(SafetensorsBuilder&)>& edit) {
  EditedDirectory directory(golden_base("tiny48c"));
  directory.edit_tensors(kWeights, edit);
  return read_base(directory.path());
}

TEST(BaseTensors, RefusesMissingUnknownMisshapenAndDoubledOnes) {
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.erase("encoder.layer.0.output.dense.bias"); }),
                         "`encoder.layer.0.output.dense.bias` is missing"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.erase("pooler.dense.bias"); }), "`pooler.dense.bias` is missing"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.set_floats("encoder.layer.0.gate.weight", {1}, {1}); }), "model.safetensors",
                         "`encoder.layer.0.gate.weight`"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.set_floats("encoder.layer.1.output.dense.bias", {1}, {1}); }),
                         "`encoder.layer.1.output.dense.bias`", "layer 1", "1 layers"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) {
                           file.set_floats("pooler.dense.weight", {24, 96}, std::vector<float>(48 * 48));
                         }),
                         "`pooler.dense.weight`", "[24, 96]", "[48, 48]"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.set_floats("bert.pooler.dense.bias", {48}, std::vector<float>(48)); }),
                         "`bert.pooler.dense.bias`", "same parameter"));
  EXPECT_TRUE(is_refused(with_tensors([](auto& file) { file.set("pooler.dense.bias", "I32", {48}, std::string(192, '\0')); }),
                         "`pooler.dense.bias`", "I32"));
}

TEST(BaseTensors, RefusesValuesThatAreNotFinite) {
  const auto result = with_tensors([](auto& file) {
    auto values = file.floats("embeddings.LayerNorm.weight");
    values[5] = std::numeric_limits<float>::quiet_NaN();
    file.set_floats("embeddings.LayerNorm.weight", {48}, values);
  });
  EXPECT_TRUE(is_refused(result, "`embeddings.LayerNorm.weight`", "index 5", "NaN"));
}

TEST(BaseTensors, RefusesPickledAndMissingWeights) {
  EditedDirectory directory(golden_base("tiny48c"));
  std::filesystem::remove(directory.file(kWeights));
  EXPECT_TRUE(is_refused(read_base(directory.path()), "neither model.safetensors nor"));
  testing::write_file(directory.file("pytorch_model.bin"), "PK");
  EXPECT_TRUE(is_refused(read_base(directory.path()), "pytorch_model.bin", "safe_serialization=True"));
  std::filesystem::remove(directory.file(kConfig));
  EXPECT_TRUE(is_refused(read_base(directory.path()), "config.json"));
}

/// read_base on tiny64r after its index was edited.
Result<BaseModel> with_index(const std::function<void(nlohmann::ordered_json&, EditedDirectory&)>& edit) {
  EditedDirectory directory(golden_base("tiny64r"));
  directory.edit_json(kIndex, [&](nlohmann::ordered_json& index) { edit(index, directory); });
  return read_base(directory.path());
}

TEST(BaseShards, RefusesAnIndexThatLies) {
  const std::string name = "pooler.dense.bias";
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto& directory) {
                           std::filesystem::remove(directory.file(index["weight_map"][name].template get<std::string>()));
                         }),
                         "safetensors", "No such file"));
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto&) { index["weight_map"]["embeddings.extra"] = index["weight_map"][name]; }),
                         "index.json", "`embeddings.extra`", "does not"));
  EXPECT_TRUE(
      is_refused(with_index([&](auto& index, auto&) { index["weight_map"].erase(name); }), "index.json", "`pooler.dense.bias`", "nothing"));
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto& directory) {  // the same tensor in a second shard
                           SafetensorsBuilder builder;
                           builder.set_floats(name, {64}, std::vector<float>(64));
                           builder.set_floats("cls.extra", {1}, {0});
                           builder.write(directory.file("zz.safetensors"));
                           index["weight_map"]["cls.extra"] = "zz.safetensors";
                         }),
                         "index.json", "`pooler.dense.bias`", "zz.safetensors"));
  for (const char* path : {"../model.safetensors", "/etc/passwd", "..", "", "a\\b"}) {
    EXPECT_TRUE(is_refused(with_index([&](auto& index, auto&) { index["weight_map"][name] = path; }), "index.json", "same directory"))
        << path;
  }
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto&) { index["weight_map"][name] = 7; }), "index.json", "`pooler.dense.bias`"));
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto&) { index.erase("weight_map"); }), "index.json", "weight_map"));
  EXPECT_TRUE(is_refused(with_index([&](auto& index, auto&) { index["extra"] = 1; }), "index.json", "unknown key `extra`"));
}

TEST(BaseTokenizer, MustFitTheVocabulary) {
  const uint32_t vocabulary = base_model("tiny48c").vocabulary, fewer = vocabulary - 10;
  EditedDirectory directory(golden_base("tiny48c"));
  directory.set_key(kConfig, "vocab_size", fewer);
  directory.edit_tensors(kWeights, [&](auto& file) {
    auto values = file.floats("embeddings.word_embeddings.weight");
    values.resize(fewer * 48);
    file.set_floats("embeddings.word_embeddings.weight", {fewer, 48}, values);
  });
  EXPECT_TRUE(is_refused(read_base(directory.path()), "tokenizer", std::to_string(vocabulary - 1), std::to_string(fewer)));
}

TEST(BaseTokenizer, MayBeAbsent) {
  EditedDirectory directory(golden_base("tiny48c"));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}) std::filesystem::remove(directory.file(name));
  const auto base = read_base(directory.path());
  ASSERT_TRUE(is_ok(base));
  EXPECT_FALSE(base->has_tokenizer);
}

TEST(BertNames, AreInverses) {
  for (const Place& place : encoder_places(3, true)) {
    const auto back = place_of_tensor(tensor_of_place(place));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, place);
  }
  for (const char* name : {"encoder.layer.0.output", "encoder.layer.00.output.dense", "encoder.layer..output.dense",
                           "encoder.layer.-1.output.dense", "encoder.layer.99999999999.output.dense", "output.dense", "pooler", ""}) {
    EXPECT_FALSE(site_of_module(name).has_value()) << name;
  }
  EXPECT_FALSE(place_of_tensor("embeddings.word_embeddings.bias").has_value());
  EXPECT_EQ(normalise_tensor_name("bert.embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
}

}  // namespace
}  // namespace pets::converter::base_reader_test
