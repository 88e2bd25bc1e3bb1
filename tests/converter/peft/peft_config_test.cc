// adapter_config.json: every key accounted for, types refused by name, and peft's patterns.
#include "converter/peft/peft_config.h"

#include <gtest/gtest.h>

#include "tests/converter/golden_files.h"

namespace pets::converter::peft_config_test {
namespace {

using testing::EditedDirectory;
using testing::golden_pet;
using testing::is_ok;
using testing::is_refused;

Result<PeftConfig> with_key(const std::string& key, const nlohmann::ordered_json& value, const char* pet = "lora-qv") {
  EditedDirectory directory(golden_pet(pet));
  directory.set_key("adapter_config.json", key, value);
  return read_peft_config(directory.path());
}

TEST(PeftConfig, ReadsALora) {
  const auto config = read_peft_config(golden_pet("lora-all-sites"));
  ASSERT_TRUE(is_ok(config));
  EXPECT_EQ(config->type, PeftType::kLora);
  EXPECT_EQ(config->task, HfTask::kSequence);
  EXPECT_EQ(config->rank, 4U);
  EXPECT_EQ(config->alpha, 6.0);
  ASSERT_EQ(config->rank_pattern.size(), 2U);
  EXPECT_EQ(config->rank_pattern[0], (std::pair<std::string, double>{"layer\\.1\\.intermediate\\.dense", 7}));
  EXPECT_FALSE(config->rank_stabilized);
  EXPECT_FALSE(config->dora);
}

TEST(PeftConfig, TakesTheTaskFromTheModelClassWhereThereIsNoTaskType) {
  EXPECT_EQ(read_peft_config(golden_pet("lora-no-task-type"))->task, HfTask::kSequence);
  EXPECT_EQ(with_key("task_type", nullptr)->task, HfTask::kUnknown);
  EXPECT_EQ(with_key("task_type", "TOKEN_CLS")->task, HfTask::kTokens);
  EXPECT_EQ(with_key("task_type", "FEATURE_EXTRACTION")->task, HfTask::kEncoder);
  EXPECT_FALSE(with_key("task_type", "SEQ_CLS")->drops_token_types);
  EXPECT_TRUE(with_key("task_type", "QUESTION_ANS")->drops_token_types);
  EXPECT_TRUE(is_refused(with_key("task_type", "CAUSAL_LM"), "adapter_config.json", "task_type", "CAUSAL_LM"));
}

TEST(PeftConfig, RefusesKeysThatNobodyKnows) {
  EXPECT_TRUE(is_refused(with_key("frobnicate", 1), "adapter_config.json", "unknown key `frobnicate`"));
  EXPECT_TRUE(is_refused(with_key("lora_alpha", 1, "ia3"), "unknown key `lora_alpha`"));  // a LoRA's key in an IA3
}

TEST(PeftConfig, RefusesEveryOptionThatChangesTheComputation) {
  const std::pair<const char*, nlohmann::ordered_json> options[] = {
      {"use_qalora", true},
      {"layer_replication", {{0, 1}}},
      {"megatron_config", {{"a", 1}}},
      {"trainable_token_indices", {1, 2}},
      {"alora_invocation_tokens", {1}},
      {"target_parameters", {"x"}},
      {"fan_in_fan_out", true},
      {"arrow_config", {{"top_k", 1}}},
      {"kasa_config", {{"a", 1}}},
      {"monteclora_config", {{"a", 1}}},
      {"use_bdlora", {{"nblocks", 2}}},
      {"velora_config", {{"scale", 2}}},
      {"init_lora_weights", "pissa"},
      {"init_lora_weights", "pissa_niter_16"},
      {"init_lora_weights", "olora"},
      {"init_lora_weights", "corda"},
      {"init_lora_weights", "loftq"},
      {"init_lora_weights", "lora_ga"},
      {"init_lora_weights", "somethingnew"},
  };
  for (const auto& [key, value] : options) EXPECT_TRUE(is_refused(with_key(key, value), "adapter_config.json", key)) << key;
}

TEST(PeftConfig, AcceptsWhatDoesNotChangeTheComputation) {
  const std::pair<const char*, nlohmann::ordered_json> options[] = {
      {"lora_dropout", 0.5},
      {"init_lora_weights", false},
      {"init_lora_weights", "gaussian"},
      {"init_lora_weights", "eva"},
      {"layers_to_transform", 1},
      {"layers_pattern", "layer"},
      {"target_parameters", nlohmann::ordered_json::array()},
      {"inference_mode", false},
      {"peft_version", "0.99"},
      {"exclude_modules", {"a"}},
      {"lora_alpha", 2.5},
  };
  for (const auto& [key, value] : options) EXPECT_TRUE(is_ok(with_key(key, value))) << key;
}

TEST(PeftConfig, RefusesWrongTypesOfValues) {
  EXPECT_TRUE(is_refused(with_key("r", "4"), "`r`"));
  EXPECT_TRUE(is_refused(with_key("lora_alpha", "x"), "`lora_alpha`"));
  EXPECT_TRUE(is_refused(with_key("use_dora", 1), "`use_dora`"));
  EXPECT_TRUE(is_refused(with_key("rank_pattern", {1}), "`rank_pattern`"));
  EXPECT_TRUE(is_refused(with_key("alpha_pattern", {{"query", "x"}}), "`alpha_pattern`", "`query`"));
  EXPECT_TRUE(is_refused(with_key("peft_type", nullptr), "`peft_type`"));
  EXPECT_TRUE(is_refused(with_key("lora_alpha", nullptr), "`lora_alpha`", "null"));
  EXPECT_TRUE(is_refused(with_key("bias", "some"), "`bias`", "\"some\""));
  EXPECT_TRUE(is_refused(with_key("target_modules", 5), "`target_modules`", "5"));
  EXPECT_TRUE(is_refused(with_key("exclude_modules", {"a", 1}), "`exclude_modules`"));
  EXPECT_TRUE(is_refused(with_key("layers_to_transform", {0, -1}), "`layers_to_transform`"));
  EXPECT_TRUE(is_refused(with_key("layers_pattern", 1), "`layers_pattern`"));
}

TEST(PeftConfig, RefusesOtherTypesByNameWithWhatToDo) {
  for (const char* type : {"PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"})
    EXPECT_TRUE(is_refused(with_key("peft_type", type), type)) << type;
  for (const char* type : {"ADALORA", "OFT", "VERA", "LOHA", "NEWEST"}) {
    EXPECT_TRUE(is_refused(with_key("peft_type", type), type, "checkpoint", "operators")) << type;
  }
}

double match(const PeftPatterns& patterns, const std::string& module) {
  const auto value = value_of_pattern(patterns, module, -1, "c.json");
  return value ? *value : -2;
}

TEST(PeftPattern, MatchesLikePeft) {
  const std::string query = "bert.encoder.layer.0.attention.self.query";
  EXPECT_EQ(match({{"query", 3}}, query), 3);
  EXPECT_EQ(match({{"self.query", 3}}, query), 3);
  EXPECT_EQ(match({{"uery", 3}}, query), -1);  // not at a dot
  EXPECT_EQ(match({{"self", 3}}, query), -1);  // not at the end
  EXPECT_EQ(match({{"^bert.*query", 3}}, query), 3);
  EXPECT_EQ(match({{"^query", 3}}, query), -1);
  EXPECT_EQ(match({{"layer\\.[01]\\..*", 3}}, query), 3);
  EXPECT_EQ(match({{"layer.\\d+.attention.self.(query|key)", 3}}, query), 3);
  EXPECT_EQ(match({{"key", 1}, {"query", 2}, {"self.query", 3}}, query), 2);  // the first that matches
  EXPECT_EQ(match({{query, 5}}, query), 5);
  EXPECT_EQ(match({}, query), -1);
}

/// What std::regex would read as something else, without a complaint.
TEST(PeftPattern, MeansWhatPythonMeans) {
  const std::string query = "bert.encoder.layer.0.attention.self.query";
  EXPECT_EQ(match({{"query\\Z", 3}}, query), 3);
  EXPECT_EQ(match({{"\\Abert\\.encoder.*query", 3}}, query), 3);
  EXPECT_EQ(match({{"value\\Z|query", 3}}, query), 3);
  EXPECT_EQ(match({{"\\Aquery\\Z|.*value\\Z", 3}}, query), -1);
  EXPECT_EQ(match({{"query(?=\\Z)", 3}}, query), 3);
  EXPECT_EQ(match({{"quer[\\w.]??", 3}}, query), 3);
  EXPECT_EQ(match({{"[a-z]{2,}?y", 3}}, query), 3);
  EXPECT_EQ(match({{"[[q]\\x75ery", 3}}, query), 3);
  for (const char* pattern : {"[]q]uery", "[^]a]uery", "[[:alpha:]]uery", "[[=q=]]uery", ".*+query", ".{0,40}+query", "(?P<a>query)",
                              "(?i)query", "\\auery", "(q)\\1", "q**", "query\\", "[query", "q{1"}) {
    EXPECT_TRUE(is_refused(value_of_pattern({{pattern, 1}}, query, 0, "c.json"), "c.json", pattern)) << pattern;
  }
}

TEST(PeftTargets, AreThoseOfPeft) {
  const std::string query = "bert.encoder.layer.1.attention.self.query";
  const auto targets = [&](const nlohmann::ordered_json& keys) {
    const auto read = read_peft_targets(keys, "c.json");
    return read ? targets_module(*read, query) : std::nullopt;
  };
  EXPECT_EQ(targets({{"target_modules", {"query", "value"}}}), true);
  EXPECT_EQ(targets({{"target_modules", {"value"}}}), false);
  EXPECT_EQ(targets({{"target_modules", {"uery"}}}), false);
  EXPECT_EQ(targets({{"target_modules", {query}}}), true);
  EXPECT_EQ(targets({{"target_modules", ".*layer\\.[12].*query"}}), true);
  EXPECT_EQ(targets({{"target_modules", ".*layer\\.[12].*key"}}), false);
  EXPECT_EQ(targets({{"target_modules", ".*(?<!self)query"}}), std::nullopt);  // Python's alone: the tensors decide
  EXPECT_EQ(targets({{"target_modules", "All-Linear"}}), std::nullopt);
  EXPECT_EQ(targets({{"target_modules", nullptr}}), std::nullopt);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"exclude_modules", {"self.query"}}}), false);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"exclude_modules", ".*layer.0.*"}}), true);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"layers_to_transform", {0, 1}}}), true);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"layers_to_transform", 0}}), false);
  EXPECT_EQ(targets({{"target_modules", {query}}, {"layers_to_transform", 0}}), true);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"layers_to_transform", nlohmann::ordered_json::array()}}), true);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"layers_to_transform", 1}, {"layers_pattern", "layer"}}), true);
  EXPECT_EQ(targets({{"target_modules", {"query"}}, {"layers_to_transform", 1}, {"layers_pattern", {"h"}}}), false);
}

TEST(PeftPattern, RefusesWhatIsNoPatternAndDoesNotHangOnHostileOnes) {
  EXPECT_TRUE(is_refused(value_of_pattern({{"(", 1}}, "a.query", 0, "c.json"), "c.json", "`(`"));
  EXPECT_TRUE(is_refused(value_of_pattern({{std::string(100000, '('), 1}}, "a.query", 0, "c.json"), "c.json"));
  EXPECT_TRUE(
      is_refused(value_of_pattern({{"(?=.*(?=.*(?=.*(?=.*(?=.*(?=.*query)))))).*", 1}}, "a.query", 0, "c.json"), "c.json"));  // minutes
  EXPECT_EQ(match({{"((a*)*)*b", 1}}, std::string(60, 'a')), -1);
  EXPECT_EQ(match({{"(a|aa)+$b", 1}}, std::string(60, 'a')), -1);
}

}  // namespace
}  // namespace pets::converter::peft_config_test
