// LoRA (arXiv:2106.09685), rank-stabilized LoRA (arXiv:2312.03732) and DoRA (arXiv:2402.09353) as peft computes them.
#include "converter/peft/peft_lora.h"

#include <cmath>

#include "converter/files/message_text.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

Status read_matrix(const StoredTensor& stored, uint64_t rows, uint64_t columns, Matrix& matrix) {
  matrix.rows = rows;
  matrix.columns = columns;
  PETS_ASSIGN_OR_RETURN(matrix.values, floats_of_shape(stored, {rows, columns}));
  return Status::ok();
}

/// Y = m / |W + s B A| (W x + s B A x) + b: the norm is each output's, and the bias is not scaled.
Result<std::vector<float>> dora_scale(const StoredTensor& stored, const LinearWeights& linear, const LowRankOperator& low_rank) {
  const uint64_t out = linear.weight.rows, in = linear.weight.columns;
  PETS_ASSIGN_OR_RETURN(std::vector<float> scale, floats_of_shape(stored, {out}));
  std::vector<double> row(in);
  for (uint64_t o = 0; o < out; ++o) {
    for (uint64_t i = 0; i < in; ++i) row[i] = static_cast<double>(linear.weight.values[o * in + i]);
    for (uint64_t r = 0; r < low_rank.a.rows; ++r) {
      const double factor = low_rank.scale * static_cast<double>(low_rank.b.values[o * low_rank.b.columns + r]);
      for (uint64_t i = 0; i < in; ++i) row[i] += factor * static_cast<double>(low_rank.a.values[r * in + i]);
    }
    double squares = 0;
    for (const double value : row) squares += value * value;
    if (squares == 0) return peft_tensor_error(stored, "scales output " + std::to_string(o) + ", whose weights are all 0");
    scale[o] = static_cast<float>(static_cast<double>(scale[o]) / std::sqrt(squares));
  }
  return scale;
}

}  // namespace

Status lora_recipe(const PeftConfig& config, const PeftModule& module, const LinearWeights& linear, SiteOperators& operators) {
  const StoredTensor* a = module.find(PeftPart::kLoraA);
  const StoredTensor* b = module.find(PeftPart::kLoraB);
  const StoredTensor* bias = module.find(PeftPart::kLoraBias);
  const StoredTensor* magnitude = module.find(PeftPart::kMagnitude);
  if (a == nullptr && b == nullptr && bias == nullptr && magnitude == nullptr) return Status::ok();
  if (a == nullptr || b == nullptr) {
    return peft_tensor_error(a != nullptr      ? *a
                             : b != nullptr    ? *b
                             : bias != nullptr ? *bias
                                               : *magnitude,
                             "has no partner: a LoRA needs both lora_A and lora_B");
  }
  if (config.dora != (magnitude != nullptr)) {
    return peft_tensor_error(magnitude != nullptr ? *magnitude : *a, config.dora
                                                                         ? "has no lora_magnitude_vector beside it, but `use_dora` is true"
                                                                         : "is a DoRA's, but `use_dora` is false");
  }
  PETS_ASSIGN_OR_RETURN(const double rank,
                        value_of_pattern(config.rank_pattern, module.full_name, static_cast<double>(config.rank), config.path));
  PETS_ASSIGN_OR_RETURN(const double alpha, value_of_pattern(config.alpha_pattern, module.full_name, config.alpha, config.path));
  if (!(rank >= 1) || a->tensor->shape.empty() || static_cast<double>(a->tensor->shape[0]) != rank) {
    return peft_tensor_error(*a, "has shape " + shape_text(a->tensor->shape) + ", but the config gives this module rank " +
                                     std::to_string(static_cast<int64_t>(rank)));
  }
  LowRankOperator low_rank;
  low_rank.scale = alpha / (config.rank_stabilized ? std::sqrt(rank) : rank);
  const uint64_t r = a->tensor->shape[0];
  PETS_RETURN_IF_ERROR(read_matrix(*a, r, linear.weight.columns, low_rank.a));
  PETS_RETURN_IF_ERROR(read_matrix(*b, linear.weight.rows, r, low_rank.b));
  if (bias != nullptr) {
    PETS_ASSIGN_OR_RETURN(std::vector<float> own, floats_of_shape(*bias, {linear.weight.rows}));
    const std::vector<float>& before = operators.bias ? operators.bias->value : linear.bias;
    for (size_t o = 0; o < own.size(); ++o) {
      own[o] = static_cast<float>(static_cast<double>(before[o]) + low_rank.scale * static_cast<double>(own[o]));
    }
    operators.bias = BiasOperator{std::move(own)};
  }
  if (magnitude != nullptr) {
    PETS_ASSIGN_OR_RETURN(std::vector<float> output, dora_scale(*magnitude, linear, low_rank));
    operators.scale = ScaleOperator{{}, std::move(output)};
  }
  operators.low_rank = std::move(low_rank);
  return Status::ok();
}

}  // namespace pets::converter
