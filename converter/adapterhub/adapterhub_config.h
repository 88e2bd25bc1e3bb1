// adapter_config.json as the `adapters` library writes it (adapters 1.3; adapters/configuration/adapter_config.py), every key accounted
// for.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>

#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// BnConfig: bottleneck adapters (seq_bn, double_seq_bn, par_bn and whatever lies between).
struct HubBottleneckConfig {
  bool after_attention = false;  // mh_adapter
  bool after_ffn = false;        // output_adapter
  bool norm_before = false, norm_after = false;
  enum class Scaling : uint8_t { kNumber, kLearned, kChannel } scaling = Scaling::kNumber;
  /// Everything of an operator that the configuration says: its flags, activation and, for kNumber, scaling.
  BottleneckOperator options;
  /// Layers, or "default"; a number for all layers is under "default".
  std::map<std::string, double> reduction_factor;
};

/// LoRAConfig: LoRA, DoRA (composition_mode add) and IA3 (scale).
struct HubLoraConfig {
  bool query = false, key = false, value = false;  // selfattn_lora with attn_matrices
  bool up = false, down = false;                   // intermediate_lora, output_lora
  bool multiplies = false;                         // composition_mode: scale
  bool dora = false;
  uint64_t rank = 0;
  double alpha = 0;
};

struct HubConfig {
  std::string path;
  std::string name;  // the infix of the tensors' names
  std::set<int64_t> leave_out;
  std::variant<HubBottleneckConfig, HubLoraConfig> method;
};

/// Reads `directory`/adapter_config.json. Methods and options that are not supported are refused by name.
Result<HubConfig> read_hub_config(const BaseModel& base, const std::string& directory);

}  // namespace pets::converter
