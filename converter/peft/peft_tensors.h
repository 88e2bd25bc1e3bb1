// adapter_model.safetensors of the peft library, its tensors sorted by module.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "converter/huggingface/tensor_store.h"
#include "converter/peft/peft_config.h"
#include "pets/status.h"

namespace pets::converter {

enum class PeftPart : uint8_t {
  kWeight,  // the module's own parameters, replaced
  kBias,
  kLoraA,      // [r, in]
  kLoraB,      // [out, r]
  kLoraBias,   // [out], times the scale
  kMagnitude,  // [out], DoRA
  kIa3,        // [1, in] or [out, 1]
  kShiraWeight,
  kShiraIndices,
  kBeftBias  // [1, out]
};

struct PeftModule {
  std::string full_name;  // as peft names it, with the task model's prefix: what patterns match
  std::map<PeftPart, StoredTensor> parts;
  const StoredTensor* find(PeftPart part) const {
    const auto found = parts.find(part);
    return found == parts.end() ? nullptr : &found->second;
  }
};

/// Modules by their name without the `bert.` prefix. Every tensor belongs to a module's part of the config's type, else it is refused.
Result<std::map<std::string, PeftModule>> sort_peft_tensors(const SafetensorsFile& file, const PeftConfig& config);

/// "FILE: tensor `NAME` PROBLEM".
Status peft_tensor_error(const StoredTensor& stored, const std::string& problem);

}  // namespace pets::converter
