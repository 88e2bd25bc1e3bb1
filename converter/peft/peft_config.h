// adapter_config.json of the peft library (0.3 to 0.21), every key accounted for.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "converter/huggingface/hf_head.h"
#include "converter/peft/peft_targets.h"
#include "pets/status.h"

namespace pets::converter {

enum class PeftType : uint8_t { kLora, kIa3, kLayerNormTuning, kShira, kBeft };

/// Pattern and value, in the file's order: the first that matches wins.
using PeftPatterns = std::vector<std::pair<std::string, double>>;

struct PeftConfig {
  std::string path;
  PeftType type = PeftType::kLora;
  std::string type_name;  // as the file writes it
  HfTask task = HfTask::kUnknown;
  PeftTargets targets;
  /// peft's PeftModelForQuestionAnswering does not pass token types to the encoder: they are all 0, in training and in inference.
  bool drops_token_types = false;
  // LoRA only:
  uint64_t rank = 0;
  double alpha = 0;
  PeftPatterns rank_pattern, alpha_pattern;
  bool rank_stabilized = false;
  bool dora = false;
};

Result<PeftConfig> read_peft_config(const std::string& directory);

/// peft's get_pattern_key: the value of the first pattern for which `(.*\.)?(pattern)$` matches the module's name from its start, else
/// `fallback`. A pattern that is no regular expression this library knows is an error.
Result<double> value_of_pattern(const PeftPatterns& patterns, const std::string& module, double fallback, const std::string& path);

/// Python's re.fullmatch. Nothing where the pattern is no regular expression that this reader knows.
std::optional<bool> matches_whole(const std::string& pattern, const std::string& text);

}  // namespace pets::converter
