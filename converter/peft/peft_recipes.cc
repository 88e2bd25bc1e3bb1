#include "converter/peft/peft_recipes.h"

#include <algorithm>
#include <numeric>

#include "converter/files/message_text.h"
#include "converter/peft/peft_lora.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

/// (IA)^3, arXiv:2205.05638: y = W (l x) + b for feed-forward modules, y = l (W x + b) for the others.
Status ia3_recipe(const PeftModule& module, const LinearWeights& linear, SiteOperators& operators) {
  const StoredTensor* vector = module.find(PeftPart::kIa3);
  if (vector == nullptr) return Status::ok();
  const std::vector<uint64_t>& shape = vector->tensor->shape;
  const uint64_t out = linear.weight.rows, in = linear.weight.columns;
  ScaleOperator scale;
  if (shape == std::vector<uint64_t>{1, in}) {
    PETS_ASSIGN_OR_RETURN(scale.input, to_floats(*vector->file, *vector->tensor));
  } else if (shape == std::vector<uint64_t>{out, 1}) {
    PETS_ASSIGN_OR_RETURN(scale.output, to_floats(*vector->file, *vector->tensor));
    std::vector<float> bias = operators.bias ? operators.bias->value : linear.bias;
    for (uint64_t o = 0; o < out; ++o) bias[o] *= scale.output[o];
    operators.bias = BiasOperator{std::move(bias)};
  } else {
    return peft_tensor_error(*vector, "has shape " + shape_text(shape) + ", expected " + shape_text({1, in}) + " (input) or " +
                                          shape_text({out, 1}) + " (output)");
  }
  operators.scale = std::move(scale);
  return Status::ok();
}

/// SHiRA, arXiv:2406.13175: values added at fixed places of the weight. peft's scaling of it is 1 and not saved.
Status shira_recipe(const PeftModule& module, const LinearWeights& linear, SiteOperators& operators) {
  const StoredTensor* values = module.find(PeftPart::kShiraWeight);
  const StoredTensor* indices = module.find(PeftPart::kShiraIndices);
  if (values == nullptr && indices == nullptr) return Status::ok();
  if (values == nullptr || indices == nullptr) {
    return peft_tensor_error(values != nullptr ? *values : *indices, "has no partner: SHiRA needs both shira_weight and shira_indices");
  }
  if (values->tensor->shape.size() != 1)
    return peft_tensor_error(*values, "has shape " + shape_text(values->tensor->shape) + ", expected [n]");
  const uint64_t count = values->tensor->shape[0];
  if (indices->tensor->shape != std::vector<uint64_t>{2, count}) {
    return peft_tensor_error(*indices, "has shape " + shape_text(indices->tensor->shape) + ", expected " + shape_text({2, count}));
  }
  PETS_ASSIGN_OR_RETURN(const std::vector<float> weights, to_floats(*values->file, *values->tensor));
  PETS_ASSIGN_OR_RETURN(const std::vector<int64_t> places, to_integers(*indices->file, *indices->tensor));
  const auto out_of = [&](uint64_t i) { return places[i]; };
  const auto in_of = [&](uint64_t i) { return places[count + i]; };
  for (uint64_t i = 0; i < count; ++i) {
    if (out_of(i) < 0 || static_cast<uint64_t>(out_of(i)) >= linear.weight.rows || in_of(i) < 0 ||
        static_cast<uint64_t>(in_of(i)) >= linear.weight.columns) {
      return peft_tensor_error(*indices, "names the place (" + std::to_string(out_of(i)) + ", " + std::to_string(in_of(i)) +
                                             ") of a weight of shape " + shape_text({linear.weight.rows, linear.weight.columns}));
    }
  }
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::sort(order.begin(), order.end(),
            [&](uint64_t a, uint64_t b) { return std::pair(out_of(a), in_of(a)) < std::pair(out_of(b), in_of(b)); });
  SparseOperator sparse;
  for (const uint64_t i : order) {
    const auto out = static_cast<uint32_t>(out_of(i)), in = static_cast<uint32_t>(in_of(i));
    if (!sparse.out.empty() && sparse.out.back() == out && sparse.in.back() == in) {
      return peft_tensor_error(*indices, "names the place (" + std::to_string(out) + ", " + std::to_string(in) + ") twice");
    }
    sparse.out.push_back(out);
    sparse.in.push_back(in);
    sparse.values.push_back(weights[i]);
  }
  operators.sparse = std::move(sparse);
  return Status::ok();
}

/// BEFT: a vector added to the output, so to the bias.
Status beft_recipe(const PeftModule& module, const LinearWeights& linear, SiteOperators& operators) {
  const StoredTensor* vector = module.find(PeftPart::kBeftBias);
  if (vector == nullptr) return Status::ok();
  PETS_ASSIGN_OR_RETURN(std::vector<float> bias, floats_of_shape(*vector, {1, linear.weight.rows}));
  for (size_t o = 0; o < bias.size(); ++o) bias[o] += operators.bias ? operators.bias->value[o] : linear.bias[o];
  operators.bias = BiasOperator{std::move(bias)};
  return Status::ok();
}

}  // namespace

Status linear_recipe(const PeftConfig& config, const PeftModule& module, const LinearWeights& linear, SiteOperators& operators) {
  if (const StoredTensor* bias = module.find(PeftPart::kBias)) {
    PETS_ASSIGN_OR_RETURN(std::vector<float> value, floats_of_shape(*bias, {linear.weight.rows}));
    if (value != linear.bias) operators.bias = BiasOperator{std::move(value)};
  }
  PETS_RETURN_IF_ERROR(lora_recipe(config, module, linear, operators));
  PETS_RETURN_IF_ERROR(ia3_recipe(module, linear, operators));
  PETS_RETURN_IF_ERROR(shira_recipe(module, linear, operators));
  return beft_recipe(module, linear, operators);
}

}  // namespace pets::converter
