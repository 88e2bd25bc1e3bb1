// The tensors of adapter.safetensors made into PET operators.
#pragma once

#include <vector>

#include "converter/adapterhub/adapterhub_config.h"
#include "converter/files/tensor_reader.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

Result<std::vector<Operator>> read_hub_bottlenecks(const BaseModel& base, const HubConfig& config, TensorReader* tensors);
Result<std::vector<Operator>> read_hub_lora(const BaseModel& base, const HubConfig& config, TensorReader* tensors);

/// head_config.json and model_head.safetensors in `directory`, with the request laid over it. A directory without a head can be an
/// embedding.
Result<HeadSpec> read_hub_head(const BaseModel& base, const std::string& directory, const HeadRequest& request);

}  // namespace pets::converter
