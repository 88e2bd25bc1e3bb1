// PET types of the peft library to operators, module by module.
#pragma once

#include "converter/model/base_model.h"
#include "converter/model/operator_set.h"
#include "converter/peft/peft_config.h"
#include "converter/peft/peft_tensors.h"

namespace pets::converter {

/// What `module` does at a linear layer whose own parameters are `linear`: LoRA, DoRA, IA3, SHiRA, BEFT and replaced biases.
/// A replaced weight is not its business.
Status linear_recipe(const PeftConfig& config, const PeftModule& module, const LinearWeights& linear, SiteOperators& operators);

}  // namespace pets::converter
