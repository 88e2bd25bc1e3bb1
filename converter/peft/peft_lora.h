// The LoRA family of the peft library.
#pragma once

#include "converter/peft/peft_recipes.h"

namespace pets::converter {

/// Adds the module's low rank, if it has one; DoRA adds an output scale. Expects a replaced bias to be in `operators` already.
Status lora_recipe(const PeftConfig& config, const PeftModule& module, const LinearWeights& linear, SiteOperators& operators);

}  // namespace pets::converter
