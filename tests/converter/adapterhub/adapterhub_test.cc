// AdapterHub's adapters: what the configuration and the tensors become. The numbers are proven by the end-to-end goldens.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/converter/golden_files.h"

#include "converter/manifest/manifest.h"
#include "converter/model/check_task.h"
#include "converter/readers.h"

namespace pets::converter::adapterhub_test {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
using nlohmann::ordered_json;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter.safetensors";

const BaseModel& base() { return base_model("tiny48"); }

Result<PetTask> read_golden(const std::string& name) { return read_adapterhub(base(), source_of(golden_pet(name))); }

size_t count_bottlenecks(const PetTask& task, SiteKind kind) {
  size_t count = 0;
  for (const Operator& op : task.operators) count += op.site.kind == kind && std::holds_alternative<BottleneckOperator>(op.body) ? 1 : 0;
  return count;
}

/// A copy of a golden whose `config` is changed.
Result<PetTask> with_config(const std::string& name, const std::function<void(ordered_json&)>& change) {
  EditedDirectory pet(golden_pet(name));
  pet.edit_json(kConfig, [&](ordered_json& file) { change(file["config"]); });
  return read_adapterhub(base(), source_of(pet.path()));
}

Result<PetTask> with_option(const std::string& name, const std::string& key, const ordered_json& value) {
  return with_config(name, [&](ordered_json& config) { config[key] = value; });
}

Result<PetTask> with_tensors(const std::string& name, const std::function<void(SafetensorsBuilder&)>& change) {
  EditedDirectory pet(golden_pet(name));
  pet.edit_tensors(kWeights, change);
  return read_adapterhub(base(), source_of(pet.path()));
}

TEST(AdapterHub, EveryGoldenIsReadAndPassesTheLastCheck) {
  size_t read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden("manifests"))) {
    if (entry.path().extension() != ".yaml") continue;
    const auto manifest = read_manifest(entry.path().string());
    ASSERT_TRUE(is_ok(manifest));
    const BaseModel& model = base_model(std::filesystem::path(manifest->base.path).filename().string());
    for (const TaskEntry& task : manifest->tasks) {
      if (task.format == PetFormat::kNone || *detect_pet_format(task.source.path) != "adapterhub") continue;
      auto pet = read_adapterhub(model, task.source);
      ASSERT_TRUE(is_ok(pet)) << task.name;
      pet->name = task.name;
      pet->max_length = task.max_length == 0 ? model.positions : task.max_length;
      EXPECT_TRUE(is_ok(check_task(model, *pet)));
      ++read;
    }
  }
  EXPECT_GT(read, 70U);
}

TEST(AdapterHub, EveryRefusalNamesItsReason) {
  size_t read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden("manifests/refused"))) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("hub-")) continue;
    const std::string text = read_file(entry.path().string());
    const std::string marker = "# expect: ";
    ASSERT_TRUE(text.starts_with(marker));
    const std::string expected = text.substr(marker.size(), text.find('\n') - marker.size());
    const auto manifest = read_manifest(entry.path().string());
    ASSERT_TRUE(is_ok(manifest));
    const BaseModel& model = base_model(std::filesystem::path(manifest->base.path).filename().string());
    const auto pet = read_adapterhub(model, manifest->tasks[0].source);
    ASSERT_FALSE(pet) << name;
    std::string message = pet.status().c_str();
    for (char& c : message) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    EXPECT_NE(message.find(expected), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    ++read;
  }
  EXPECT_GT(read, 20U);
}

TEST(AdapterHub, PresetsBecomeTheirSitesAndFlags) {
  const auto houlsby = read_golden("houlsby");
  ASSERT_TRUE(is_ok(houlsby));
  EXPECT_EQ(houlsby->source, "adapterhub double_seq_bn");
  EXPECT_EQ(count_bottlenecks(*houlsby, SiteKind::kAttention), 3U);
  EXPECT_EQ(count_bottlenecks(*houlsby, SiteKind::kFfn), 3U);
  const auto* bottleneck = find_operator<BottleneckOperator>(*houlsby, "layer.2.attention");
  EXPECT_EQ(bottleneck->activation, Activation::kSilu);
  EXPECT_EQ(bottleneck->down.rows, 6U);
  EXPECT_TRUE(!bottleneck->parallel && !bottleneck->original_norm_before && bottleneck->original_norm_after);

  const auto pfeiffer = read_golden("pfeiffer");
  ASSERT_TRUE(is_ok(pfeiffer));
  EXPECT_EQ(pfeiffer->source, "adapterhub seq_bn");
  EXPECT_EQ(count_bottlenecks(*pfeiffer, SiteKind::kAttention), 0U);
  EXPECT_TRUE(find_operator<BottleneckOperator>(*pfeiffer, "layer.0.ffn")->original_norm_before);

  const auto parallel = read_golden("parallel");
  ASSERT_TRUE(is_ok(parallel));
  EXPECT_EQ(parallel->source, "adapterhub par_bn");
  EXPECT_TRUE(find_operator<BottleneckOperator>(*parallel, "layer.0.ffn")->parallel);
  EXPECT_EQ(find_operator<BottleneckOperator>(*parallel, "layer.0.ffn")->scaling, 4.0F);
}

TEST(AdapterHub, TensorsLandWhereTheyBelong) {
  const auto task = read_golden("bn-ln-after");
  ASSERT_TRUE(is_ok(task));
  const auto file = SafetensorsBuilder::from_file(golden_pet("bn-ln-after") + "/" + kWeights);
  const std::string prefix = "bert.encoder.layer.1.attention.output.adapters.bn-ln-after.";
  const auto* bottleneck = find_operator<BottleneckOperator>(*task, "layer.1.attention");
  EXPECT_EQ(bottleneck->down.values, file.floats(prefix + "adapter_down.0.weight"));
  EXPECT_EQ(bottleneck->down_bias, file.floats(prefix + "adapter_down.0.bias"));
  EXPECT_EQ(bottleneck->up.values, file.floats(prefix + "adapter_up.weight"));
  EXPECT_EQ(bottleneck->up_bias, file.floats(prefix + "adapter_up.bias"));
  EXPECT_EQ(bottleneck->norm_after->gamma, file.floats(prefix + "adapter_norm_after.weight"));
  EXPECT_EQ(bottleneck->norm_after->beta, file.floats(prefix + "adapter_norm_after.bias"));
  EXPECT_FALSE(bottleneck->norm_before.has_value());
}

TEST(AdapterHub, LearnedAndChannelScalingComeFromTheTensors) {
  const auto learned = read_golden("bn-scaling-learned");
  ASSERT_TRUE(is_ok(learned));
  const auto file = SafetensorsBuilder::from_file(golden_pet("bn-scaling-learned") + "/" + kWeights);
  EXPECT_EQ(find_operator<BottleneckOperator>(*learned, "layer.0.ffn")->scaling,
            file.floats("bert.encoder.layer.0.output.adapters.bn-scaling-learned.scaling")[0]);
  const auto channel = read_golden("bn-scaling-channel");
  ASSERT_TRUE(is_ok(channel));
  EXPECT_EQ(find_operator<BottleneckOperator>(*channel, "layer.0.ffn")->channel_scaling.size(), 48U);
  EXPECT_EQ(find_operator<BottleneckOperator>(*read_golden("bn-scaling-07"), "layer.0.ffn")->scaling, 0.7F);
  EXPECT_TRUE(is_refused(with_option("houlsby", "scaling", "learned"), "scaling", "missing"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "scaling", nullptr), "scaling", "null"));
  EXPECT_EQ(find_operator<BottleneckOperator>(*with_option("houlsby", "scaling", 2), "layer.0.ffn")->scaling, 2.0F);
}

TEST(AdapterHub, TheNormBeforeMayHaveEitherOfItsNames) {
  const auto both = read_golden("bn-ln-before");
  ASSERT_TRUE(is_ok(both));
  EXPECT_TRUE(find_operator<BottleneckOperator>(*both, "layer.0.ffn")->norm_before.has_value());
  EXPECT_TRUE(is_ok(read_golden("bn-ln-before-only-norm")));
  const std::string prefix = "bert.encoder.layer.0.output.adapters.bn-ln-before.";
  EXPECT_TRUE(is_ok(with_tensors("bn-ln-before", [&](SafetensorsBuilder& file) {
    file.erase(prefix + "adapter_norm_before.weight");
    file.erase(prefix + "adapter_norm_before.bias");
  })));
  EXPECT_TRUE(is_refused(with_tensors("bn-ln-before",
                                      [&](SafetensorsBuilder& file) {
                                        file.set_floats(prefix + "adapter_norm_before.bias", {48}, std::vector<float>(48, 3.0F));
                                      }),
                         "adapter_norm_before.", "adapter_down.0.", "differ"));
  EXPECT_TRUE(is_refused(with_tensors("bn-ln-before",
                                      [&](SafetensorsBuilder& file) {
                                        for (const char* name : {"adapter_norm_before.weight", "adapter_norm_before.bias",
                                                                 "adapter_down.0.weight", "adapter_down.0.bias"}) {
                                          file.erase(prefix + name);
                                        }
                                      }),
                         "adapter_norm_before.weight", "missing"));
}

TEST(AdapterHub, LayersMayBeLeftOutAndHaveTheirOwnWidths) {
  const auto left_out = read_golden("bn-leave-out");
  ASSERT_TRUE(is_ok(left_out));
  EXPECT_EQ(left_out->operators.size(), 2U);
  EXPECT_EQ(left_out->operators[0].site.layer, 1U);
  EXPECT_TRUE(is_refused(with_option("bn-leave-out", "leave_out", {0}), "layer.2", "missing"));
  EXPECT_TRUE(is_refused(with_option("bn-leave-out", "leave_out", {0, 1, 2}), "layer.1", "not used"));
  EXPECT_TRUE(is_refused(with_option("bn-leave-out", "leave_out", "all"), "leave_out", "\"all\""));
  EXPECT_TRUE(is_refused(with_option("bn-leave-out", "leave_out", {"0"}), "leave_out"));
  EXPECT_TRUE(is_ok(with_option("bn-leave-out", "leave_out", {0, 2, 17, -1})));

  const auto map = read_golden("bn-reduction-map");
  ASSERT_TRUE(is_ok(map));
  EXPECT_EQ(find_operator<BottleneckOperator>(*map, "layer.0.ffn")->down.rows, 4U);
  EXPECT_EQ(find_operator<BottleneckOperator>(*map, "layer.1.ffn")->down.rows, 16U);
  const auto no_default = with_option("bn-reduction-map", "reduction_factor", {{"1", 3}});
  EXPECT_TRUE(is_refused(no_default, "reduction_factor", "layer 0"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "reduction_factor", 12), "adapter_down.0.weight", "[4, 48]"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "reduction_factor", 0), "reduction_factor", "above 0"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "reduction_factor", "7"), "reduction_factor"));
  EXPECT_TRUE(is_refused(with_config("houlsby", [](ordered_json& config) { config.erase("reduction_factor"); }), "reduction_factor"));
}

TEST(AdapterHub, AbsentKeysHaveTheLibrarysDefaults) {
  const auto task = with_config("bn-original-false-true-residual-true", [](ordered_json& config) {
    const ordered_json few = {{"mh_adapter", true}, {"output_adapter", true}, {"reduction_factor", 7.0}, {"non_linearity", "ReLU"}};
    config = few;
  });
  ASSERT_TRUE(is_ok(task));
  const auto* bottleneck = find_operator<BottleneckOperator>(*task, "layer.0.ffn");
  EXPECT_TRUE(!bottleneck->parallel && !bottleneck->original_norm_before && bottleneck->original_norm_after);
  EXPECT_EQ(bottleneck->residual_before_norm, schema::ResidualBeforeNorm::kBase);
  EXPECT_EQ(bottleneck->scaling, 1.0F);
  EXPECT_EQ(bottleneck->activation, Activation::kRelu);
  for (const char* key : {"mh_adapter", "output_adapter", "non_linearity"}) {
    EXPECT_TRUE(is_refused(with_config("houlsby", [&](ordered_json& config) { config.erase(key); }), kConfig, key));
  }
  // null is false in Python, whatever the default.
  const auto null_after = with_option("houlsby", "original_ln_after", nullptr);
  ASSERT_TRUE(is_ok(null_after));
  EXPECT_FALSE(find_operator<BottleneckOperator>(*null_after, "layer.0.ffn")->original_norm_after);
}

TEST(AdapterHub, NamesOfOlderLibrariesAreUnderstood) {
  EditedDirectory pet(golden_pet("houlsby"));
  pet.edit_tensors(kWeights, [](SafetensorsBuilder& file) {
    for (const std::string& name : file.names()) {
      const bool attention = name.find("attention.output") != std::string::npos;
      std::string legacy = name.substr(5);  // without `bert.`
      legacy.replace(legacy.find(".adapters."), 10, attention ? ".attention_text_task_adapters." : ".layer_text_task_adapters.");
      file.rename(name, legacy);
    }
  });
  pet.edit_json(kConfig, [](ordered_json& file) {
    file.erase("version");
    file["type"] = "text_task";
    file["config"]["non_linearity"] = "gelu";
  });
  const auto task = read_adapterhub(base(), source_of(pet.path()));
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(find_operator<BottleneckOperator>(*task, "layer.0.ffn")->activation, Activation::kGeluTanh);
}

TEST(AdapterHub, FilesThatDoNotFitAreRefused) {
  const auto with_key = [](const char* key, const ordered_json& value) {
    EditedDirectory pet(golden_pet("houlsby"));
    pet.set_key(kConfig, key, value);
    return read_adapterhub(base(), source_of(pet.path()));
  };
  EXPECT_TRUE(is_refused(with_key("hidden_size", 64), kConfig, "hidden_size", "48", "64"));
  EXPECT_TRUE(is_refused(with_key("model_type", "roberta"), kConfig, "model_type", "roberta"));
  EXPECT_TRUE(is_refused(with_key("name", "other"), kWeights, "adapters.other.", "missing"));
  EXPECT_TRUE(is_refused(with_key("colour", 1), kConfig, "`colour`"));
  EXPECT_TRUE(is_refused(with_key("config", "pfeiffer"), kConfig, "`config`", "\"pfeiffer\""));
  EXPECT_TRUE(is_refused(with_option("houlsby", "mh_adapter", 1), "mh_adapter", "true or false"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "output_adapter", false), "output.adapters.houlsby", "not used"));
  EXPECT_TRUE(is_refused(with_option("houlsby", "architecture", "mtl_lora"), "architecture", "`mtl_lora`"));

  for (const auto& [file, reason] : std::vector<std::pair<std::string, std::string>>{
           {"adapter_fusion_config.json", "Fusion"}, {"adapter_setup.json", "composition"}, {"embedding.pt", "embeddings"}}) {
    EditedDirectory pet(golden_pet("houlsby"));
    write_file(pet.file(file), "{}");
    EXPECT_TRUE(is_refused(read_adapterhub(base(), source_of(pet.path())), file, reason));
  }
  EditedDirectory pickled(golden_pet("houlsby"));
  write_file(pickled.file("pytorch_adapter.bin"), "");
  EXPECT_TRUE(is_ok(read_adapterhub(base(), source_of(pickled.path()))));
  std::filesystem::remove(pickled.file(kWeights));
  EXPECT_TRUE(is_refused(read_adapterhub(base(), source_of(pickled.path())), "pytorch_adapter.bin", "use_safetensors=True"));
}

TEST(AdapterHub, LoraBecomesLowRank) {
  const auto task = read_golden("hub-lora-all");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "adapterhub lora");
  EXPECT_EQ(task->operators.size(), 10U);  // five linears of two layers
  const auto* low_rank = find_operator<LowRankOperator>(*task, "layer.2.ffn.down");
  ASSERT_NE(low_rank, nullptr);
  EXPECT_EQ(low_rank->scale, 3.0 / 5.0);
  const auto file = SafetensorsBuilder::from_file(golden_pet("hub-lora-all") + "/" + kWeights);
  EXPECT_EQ(low_rank->a.values, file.floats("bert.encoder.layer.2.output.dense.loras.hub-lora-all.lora_A"));
  EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.1.attention.query"), nullptr);
  EXPECT_TRUE(is_refused(with_option("hub-lora", "r", 5), "lora_A", "[5, 48]"));
  EXPECT_TRUE(is_refused(with_option("hub-lora", "r", 0), "`r`"));
  EXPECT_TRUE(is_refused(with_option("hub-lora", "attn_matrices", {"q"}), "value", "not used"));
  EXPECT_TRUE(is_refused(with_option("hub-lora", "attn_matrices", {"o"}), "attn_matrices", "\"o\""));
  EXPECT_TRUE(is_refused(with_option("hub-lora", "composition_mode", "multiply"), "composition_mode", "`multiply`"));
  EXPECT_TRUE(is_refused(with_option("hub-lora", "composition_mode", "scale"), "composition_mode", "r = 1"));
}

TEST(AdapterHub, LoraTrainedBeforeVersion11HasNoScale) {
  for (const auto& [version, scale] : std::vector<std::pair<std::string, double>>{{"adapters.0.2.1", 1.0},
                                                                                  {"adapters.1.0.1", 1.0},
                                                                                  {"adapters.1.1.0", 1.5},
                                                                                  {"adapters.2.0", 1.5},
                                                                                  {"3.2.1", 1.5},
                                                                                  {"adapters.1.1.0.dev0", 1.0},
                                                                                  {"adapters.1.1.0rc1", 1.0},
                                                                                  {"adapters.1.1.dev3", 1.0},
                                                                                  {"adapters.1.1", 1.5},
                                                                                  {"adapters.1.1.0.post1", 1.5},
                                                                                  {"adapters.1.1.1.dev0", 1.5},
                                                                                  {"adapters.v1.0", 1.0},
                                                                                  {"adapters.1!0.5", 1.5}}) {
    EditedDirectory pet(golden_pet("hub-lora"));
    pet.set_key(kConfig, "version", version);
    const auto task = read_adapterhub(base(), source_of(pet.path()));
    ASSERT_TRUE(is_ok(task));
    EXPECT_EQ(find_operator<LowRankOperator>(*task, "layer.0.attention.query")->scale, scale) << version;
  }
}

TEST(AdapterHub, Ia3ScalesTheBiasToo) {
  const auto task = read_golden("hub-ia3-alpha");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "adapterhub ia3");
  const auto file = SafetensorsBuilder::from_file(golden_pet("hub-ia3-alpha") + "/" + kWeights);
  const std::vector<float> factors = file.floats("bert.encoder.layer.1.attention.self.value.loras.hub-ia3-alpha.lora_B");
  const auto* scale = find_operator<ScaleOperator>(*task, "layer.1.attention.value");
  const auto* bias = find_operator<BiasOperator>(*task, "layer.1.attention.value");
  ASSERT_TRUE(scale != nullptr && bias != nullptr);
  for (size_t i = 0; i < 48; ++i) {
    EXPECT_EQ(scale->output[i], 2 * factors[i]);
    EXPECT_FLOAT_EQ(bias->value[i], 2 * factors[i] * base().encoder[1].value.bias[i]);
  }
}

TEST(AdapterHub, DoraBecomesLowRankWithAnOutputScale) {
  const auto task = read_golden("hub-dora");
  ASSERT_TRUE(is_ok(task));
  EXPECT_EQ(task->source, "adapterhub dora");
  const auto* low_rank = find_operator<LowRankOperator>(*task, "layer.0.attention.query");
  const auto* scale = find_operator<ScaleOperator>(*task, "layer.0.attention.query");
  ASSERT_TRUE(low_rank != nullptr && scale != nullptr);
  EXPECT_NE(find_operator<BiasOperator>(*task, "layer.0.attention.query"), nullptr);
  const auto file = SafetensorsBuilder::from_file(golden_pet("hub-dora") + "/" + kWeights);
  const float magnitude = file.floats("bert.encoder.layer.0.attention.self.query.loras.hub-dora.m.weight")[7];
  double sum = 0;
  for (size_t in = 0; in < 48; ++in) {
    double value = static_cast<double>(base().encoder[0].query.weight.values[7 * 48 + in]);
    for (size_t r = 0; r < 4; ++r)
      value += static_cast<double>(low_rank->b.values[7 * 4 + r]) * static_cast<double>(low_rank->a.values[r * 48 + in]);
    sum += value * value;
  }
  EXPECT_FLOAT_EQ(scale->output[7], static_cast<float>(static_cast<double>(magnitude) / std::sqrt(sum)));
}

}  // namespace
}  // namespace pets::converter::adapterhub_test
