// The tensors of adapter.safetensors made into PET operators.
#pragma once

#include <vector>

#include "converter/adapterhub_config.h"
#include "converter/base_model.h"
#include "converter/operators.h"
#include "converter/tensor_reader.h"
#include "pets/status.h"

namespace pets::converter {

Result<std::vector<Operator>> read_hub_bottlenecks(const BaseModel& base, const HubConfig& config, TensorReader* tensors);
Result<std::vector<Operator>> read_hub_lora(const BaseModel& base, const HubConfig& config, TensorReader* tensors);

/// head_config.json and model_head.safetensors in `directory`, with the request laid over it. A directory without a head can be an
/// embedding.
Result<HeadSpec> read_hub_head(const BaseModel& base, const std::string& directory, const HeadRequest& request);

}  // namespace pets::converter
