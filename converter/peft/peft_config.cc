#include "converter/peft/peft_config.h"

#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr KeyUse kRead = KeyUse::kRead, kIrrelevant = KeyUse::kIrrelevant, kDefault = KeyUse::kDefault;

// The dataclasses of peft 0.21 (PeftConfigMixin, PeftConfig) and keys of older versions. Which modules are adapted the tensors' names say;
// that the configuration says the same is checked (peft_targets.h).
constexpr KeyRule kCommonRules[] = {
    {"peft_type", kRead},
    {"task_type", kRead},
    {"auto_mapping", kRead},
    {"peft_version", kIrrelevant},
    {"base_model_name_or_path", kIrrelevant},
    {"revision", kIrrelevant},
    {"inference_mode", kIrrelevant},
    {"target_modules", kRead},
    {"exclude_modules", kRead},
    {"modules_to_save", kIrrelevant},
    {"fan_in_fan_out", kDefault, "[false]", "weights stored [in, out] (Conv1D) do not occur in BERT"},
};

constexpr KeyRule kLoraRules[] = {
    {"r", kRead},
    {"lora_alpha", kRead},
    {"rank_pattern", kRead},
    {"alpha_pattern", kRead},
    {"use_rslora", kRead},
    {"use_dora", kRead},
    {"bias", kDefault, R"(["none", "all", "lora_only"])"},  // the tensors are there or not
    {"lora_bias", kIrrelevant},                             // ditto
    {"lora_dropout", kIrrelevant},
    {"layers_to_transform", kRead},
    {"layers_pattern", kRead},
    {"ensure_weight_tying", kIrrelevant},  // ties layers that BERT does not have
    {"runtime_config", kIrrelevant},
    {"merge_weights", kIrrelevant},  // before 0.3
    // pissa, olora, corda, loftq and lora_ga subtract from the base's weights what they put into A and B.
    {"init_lora_weights", kDefault, R"([true, false, "gaussian", "orthogonal", "eva"])",
     "this initialization changes the base's weights; save with path_initial_model_for_weight_conversion, which makes a plain LoRA"},
    {"loftq_config", kIrrelevant},  // these matter through init_lora_weights only
    {"eva_config", kIrrelevant},
    {"corda_config", kIrrelevant},
    {"lora_ga_config", kIrrelevant},
    {"megatron_config", kDefault, "[]"},
    {"megatron_core", kIrrelevant},  // names the package that megatron_config would use
    {"trainable_token_indices", kDefault, "[]", "trained tokens are not supported"},
    {"layer_replication", kDefault, "[]", "replicated layers are not supported"},
    {"target_parameters", kDefault, "[[]]", "LoRA on bare parameters is not supported"},
    {"use_qalora", kDefault, "[false]", "QALoRA is not supported; merge it into a checkpoint"},
    {"qalora_group_size", kIrrelevant},
    {"alora_invocation_tokens", kDefault, "[]", "activated LoRA is not supported"},
    {"velora_config", kDefault, "[]"},
    {"kasa_config", kDefault, "[]", "KaSA changes the base's weights"},
    {"monteclora_config", kDefault, "[]"},
    {"use_bdlora", kDefault, "[]"},
    {"arrow_config", kDefault, "[]", "routing between adapters is not supported"},
    {"enable_lora", kDefault, "[]", "merged linears do not occur in BERT"},
};

constexpr KeyRule kIa3Rules[] = {
    {"feedforward_modules", kIrrelevant},  // a vector of [1, in] scales the input, one of [out, 1] the output
    {"init_ia3_weights", kIrrelevant},
};

constexpr KeyRule kShiraRules[] = {
    {"r", kIrrelevant},
    {"mask_type", kIrrelevant},  // the indices are saved
    {"random_seed", kIrrelevant},
    {"init_weights", kIrrelevant},
};

constexpr KeyRule kBeftRules[] = {
    {"init_weights", kIrrelevant},
};

struct TypeInfo {
  std::string_view name;
  PeftType type;
  std::span<const KeyRule> rules;
};
const TypeInfo kTypes[] = {
    {"LORA", PeftType::kLora, kLoraRules},    {"IA3", PeftType::kIa3, kIa3Rules},    {"LN_TUNING", PeftType::kLayerNormTuning, {}},
    {"SHIRA", PeftType::kShira, kShiraRules}, {"BEFT", PeftType::kBeft, kBeftRules},
};

constexpr std::string_view kPromptTypes[] = {"PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT",
                                             "CARTRIDGE",     "ADAPTION_PROMPT"};

Status refuse_type(const std::string& path, const std::string& type) {
  for (const std::string_view prompt : kPromptTypes) {
    if (type != prompt) continue;
    return Status::error(ErrorCode::kUnsupported,
                         "%s: peft type `%s` is not supported: there is no operator for learned prompts or prefixes yet", path.c_str(),
                         type.c_str());
  }
  return Status::error(ErrorCode::kUnsupported,
                       "%s: peft type `%s` is not supported (LORA, IA3, LN_TUNING, SHIRA and BEFT are); merge it into a checkpoint "
                       "(`merge_and_unload`, format `checkpoint`) or export it as `operators`",
                       path.c_str(), utf8::printable(type).c_str());
}

Status read_task(const OrderedJson& object, PeftConfig& config) {
  PETS_ASSIGN_OR_RETURN(const std::string task, get_string(object, "task_type", config.path, ""));
  if (task == "SEQ_CLS") {
    config.task = HfTask::kSequence;
  } else if (task == "TOKEN_CLS") {
    config.task = HfTask::kTokens;
  } else if (task == "QUESTION_ANS") {
    config.task = HfTask::kQuestionAnswering;
    config.drops_token_types = true;
  } else if (task == "FEATURE_EXTRACTION") {
    config.task = HfTask::kEncoder;
  } else if (!task.empty()) {
    return Status::error(ErrorCode::kUnsupported,
                         "%s: `task_type` `%s` is not supported, expected SEQ_CLS, TOKEN_CLS, QUESTION_ANS or FEATURE_EXTRACTION",
                         config.path.c_str(), utf8::printable(task).c_str());
  }
  // Without a task type peft notes the model's class.
  const auto mapping = object.find("auto_mapping");
  if (task.empty() && mapping != object.end() && mapping->is_object()) {
    PETS_ASSIGN_OR_RETURN(const std::string model_class, get_string(*mapping, "base_model_class", config.path, ""));
    config.task = task_of_architecture(model_class).value_or(HfTask::kUnknown);
  }
  return Status::ok();
}

Result<PeftPatterns> read_patterns(const OrderedJson& object, const char* key, const std::string& path) {
  PeftPatterns patterns;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return patterns;
  if (!found->is_object()) return Status::error(ErrorCode::kInvalidArgument, "%s: `%s` is no object", path.c_str(), key);
  for (const auto& [pattern, value] : found->items()) {
    if (!value.is_number()) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: `%s` of `%s` is %s, expected a number", path.c_str(), key,
                           utf8::printable(pattern).c_str(), json_text(value).c_str());
    }
    patterns.emplace_back(pattern, value.get<double>());
  }
  return patterns;
}

Status read_lora(const OrderedJson& object, PeftConfig& config) {
  for (const char* key : {"r", "lora_alpha"}) {  // absent is peft's default, null is no number to peft either
    const auto found = object.find(key);
    if (found != object.end() && found->is_null()) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: `%s` is null, expected a number", config.path.c_str(), key);
    }
  }
  PETS_ASSIGN_OR_RETURN(config.rank, get_unsigned(object, "r", config.path, 8, 65536));
  PETS_ASSIGN_OR_RETURN(config.alpha, get_number(object, "lora_alpha", config.path, 8));
  PETS_ASSIGN_OR_RETURN(config.rank_stabilized, get_bool(object, "use_rslora", config.path, false));
  PETS_ASSIGN_OR_RETURN(config.dora, get_bool(object, "use_dora", config.path, false));
  PETS_ASSIGN_OR_RETURN(config.rank_pattern, read_patterns(object, "rank_pattern", config.path));
  PETS_ASSIGN_OR_RETURN(config.alpha_pattern, read_patterns(object, "alpha_pattern", config.path));
  return Status::ok();
}

}  // namespace

Result<PeftConfig> read_peft_config(const std::string& directory) {
  PeftConfig config;
  config.path = join_path(directory, "adapter_config.json");
  PETS_ASSIGN_OR_RETURN(const OrderedJson object, load_config_object(config.path));
  // The type first: another type's keys would only confuse.
  PETS_ASSIGN_OR_RETURN(config.type_name, get_string(object, "peft_type", config.path, std::nullopt));
  const TypeInfo* info = nullptr;
  for (const TypeInfo& candidate : kTypes) {
    if (candidate.name == config.type_name) info = &candidate;
  }
  if (info == nullptr) return refuse_type(config.path, config.type_name);
  config.type = info->type;
  std::vector<KeyRule> rules(std::begin(kCommonRules), std::end(kCommonRules));
  rules.insert(rules.end(), info->rules.begin(), info->rules.end());
  PETS_RETURN_IF_ERROR(check_keys(object, rules, config.path));
  PETS_RETURN_IF_ERROR(read_task(object, config));
  PETS_ASSIGN_OR_RETURN(config.targets, read_peft_targets(object, config.path));
  if (config.type == PeftType::kLora) PETS_RETURN_IF_ERROR(read_lora(object, config));
  return config;
}

}  // namespace pets::converter
