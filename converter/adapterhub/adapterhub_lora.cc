// AdapterHub's LoRA, DoRA and IA3 (adapters/methods/lora.py). Unlike PEFT's, DoRA and IA3 scale the linear's bias too, and DoRA's norm
// leaves the LoRA scale out:
//   LoRA  Y = W x + b + alpha / r * B A x
//   DoRA  Y = m / |W + B A| * (W x + b + alpha / r * B A x), the norm over each output's row
//   IA3   Y = alpha * l * (W x + b)
#include <cmath>

#include "converter/adapterhub/adapterhub_methods.h"
#include "converter/huggingface/bert_names.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

/// |W + B A| of every row, in double precision.
std::vector<double> row_norms(const Matrix& weight, const Matrix& a, const Matrix& b) {
  std::vector<double> norms(weight.rows);
  std::vector<double> row(weight.columns);
  for (uint64_t out = 0; out < weight.rows; ++out) {
    for (uint64_t in = 0; in < weight.columns; ++in) row[in] = static_cast<double>(weight.values[out * weight.columns + in]);
    for (uint64_t r = 0; r < a.rows; ++r) {
      const auto factor = static_cast<double>(b.values[out * b.columns + r]);
      for (uint64_t in = 0; in < weight.columns; ++in) row[in] += factor * static_cast<double>(a.values[r * a.columns + in]);
    }
    double sum = 0;
    for (const double value : row) sum += value * value;
    norms[out] = std::sqrt(sum);
  }
  return norms;
}

class LoraReader {
 public:
  LoraReader(const BaseModel& base, const HubConfig& config, TensorReader* tensors)
      : base_(base), hub_(config), config_(std::get<HubLoraConfig>(config.method)), tensors_(tensors) {}

  Result<std::vector<Operator>> read() {
    const std::pair<SiteKind, bool> sites[] = {{SiteKind::kAttentionQuery, config_.query},
                                               {SiteKind::kAttentionKey, config_.key},
                                               {SiteKind::kAttentionValue, config_.value},
                                               {SiteKind::kFfnUp, config_.up},
                                               {SiteKind::kFfnDown, config_.down}};
    for (uint32_t layer = 0; layer < base_.layers; ++layer) {
      if (hub_.leave_out.contains(layer)) continue;
      for (const auto& [kind, wanted] : sites) {
        if (!wanted) continue;
        PETS_RETURN_IF_ERROR(config_.multiplies ? read_scale({kind, layer}) : read_low_rank({kind, layer}));
      }
    }
    return std::move(operators_);
  }

 private:
  std::string prefix(Site site) const {
    const std::string name = module_of_site(site) + ".loras." + hub_.name + ".";
    return tensors_->has(name + "lora_B") ? name : "bert." + name;
  }

  Status read_scale(Site site) {
    const LinearWeights& linear = *base_.linear(site);
    PETS_ASSIGN_OR_RETURN(const Matrix factors, tensors_->matrix(prefix(site) + "lora_B", linear.weight.rows, 1));
    std::vector<double> scale(factors.values.begin(), factors.values.end());
    for (double& value : scale) value *= config_.alpha;
    add_output_scale(site, linear, scale);
    return {};
  }

  Status read_low_rank(Site site) {
    const LinearWeights& linear = *base_.linear(site);
    LowRankOperator low_rank;
    low_rank.scale = config_.alpha / static_cast<double>(config_.rank);
    PETS_ASSIGN_OR_RETURN(low_rank.a, tensors_->matrix(prefix(site) + "lora_A", config_.rank, linear.weight.columns));
    PETS_ASSIGN_OR_RETURN(low_rank.b, tensors_->matrix(prefix(site) + "lora_B", linear.weight.rows, config_.rank));
    if (config_.dora) {
      PETS_ASSIGN_OR_RETURN(const Matrix magnitude, tensors_->matrix(prefix(site) + "m.weight", linear.weight.rows, 1));
      std::vector<double> scale = row_norms(linear.weight, low_rank.a, low_rank.b);
      for (size_t i = 0; i < scale.size(); ++i) scale[i] = static_cast<double>(magnitude.values[i]) / scale[i];
      add_output_scale(site, linear, scale);
    }
    operators_.push_back({site, std::move(low_rank)});
    return {};
  }

  /// `scale` operators act before the bias is added, so the bias is scaled here.
  void add_output_scale(Site site, const LinearWeights& linear, const std::vector<double>& scale) {
    ScaleOperator factors;
    BiasOperator bias;
    for (size_t i = 0; i < scale.size(); ++i) {
      factors.output.push_back(static_cast<float>(scale[i]));
      bias.value.push_back(static_cast<float>(scale[i] * static_cast<double>(linear.bias[i])));
    }
    operators_.push_back({site, std::move(factors)});
    operators_.push_back({site, std::move(bias)});
  }

  const BaseModel& base_;
  const HubConfig& hub_;
  const HubLoraConfig& config_;
  TensorReader* tensors_;
  std::vector<Operator> operators_;
};

}  // namespace

Result<std::vector<Operator>> read_hub_lora(const BaseModel& base, const HubConfig& config, TensorReader* tensors) {
  return LoraReader(base, config, tensors).read();
}

}  // namespace pets::converter
