// Bottleneck adapters: adapters/methods/modeling.py, Adapter and ParallelAdapter; adapters/methods/bottleneck.py.
#include <cmath>
#include <cstring>

#include "converter/adapterhub/adapterhub_methods.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

/// int(hidden // factor), at least 1, with Python's floor division of floats: 48 // 0.1 is 479.
uint64_t bottleneck_width(uint32_t hidden, double factor) {
  const double size = hidden;
  const double quotient = (size - std::fmod(size, factor)) / factor;
  double width = std::floor(quotient);
  if (quotient - width > 0.5) width += 1;
  return width < 1 ? 1 : static_cast<uint64_t>(width);
}

class BottleneckReader {
 public:
  BottleneckReader(const BaseModel& base, const HubConfig& config, TensorReader* tensors)
      : base_(base), hub_(config), config_(std::get<HubBottleneckConfig>(config.method)), tensors_(tensors) {}

  Result<std::vector<Operator>> read() {
    std::vector<Operator> operators;
    for (uint32_t layer = 0; layer < base_.layers; ++layer) {
      if (hub_.leave_out.contains(layer)) continue;
      for (const bool attention : {true, false}) {
        if (!(attention ? config_.after_attention : config_.after_ffn)) continue;
        const Site site{attention ? SiteKind::kAttention : SiteKind::kFfn, layer};
        PETS_ASSIGN_OR_RETURN(const uint64_t width, width_at(layer));
        PETS_ASSIGN_OR_RETURN(BottleneckOperator bottleneck, read_at(find_prefix(site), width));
        operators.push_back({site, std::move(bottleneck)});
      }
    }
    return operators;
  }

 private:
  Result<uint64_t> width_at(uint32_t layer) const {
    auto factor = config_.reduction_factor.find(std::to_string(layer));
    if (factor == config_.reduction_factor.end()) factor = config_.reduction_factor.find("default");
    if (factor == config_.reduction_factor.end()) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: reduction_factor: there is none for layer %u and no default",
                           hub_.path.c_str(), layer);
    }
    return bottleneck_width(base_.hidden, factor->second);
  }

  /// Models without a head of their own (`adapters.init` on a BertModel) write no `bert.`; adapter-transformers 1 had other containers.
  std::string find_prefix(Site site) const {
    const bool attention = site.kind == SiteKind::kAttention;
    const std::string module = "encoder.layer." + std::to_string(site.layer) + (attention ? ".attention.output." : ".output.");
    const std::string legacy = attention ? "attention_text_" : "layer_text_";
    const std::string containers[] = {"adapters", legacy + "task_adapters", legacy + "lang_adapters"};
    for (const std::string& container : containers) {
      std::string prefix = module;
      prefix.append(container).append(".").append(hub_.name).append(".");
      if (tensors_->has("bert." + prefix + "adapter_up.weight")) return "bert." + prefix;
      if (tensors_->has(prefix + "adapter_up.weight")) return prefix;
    }
    return "bert." + module + "adapters." + hub_.name + ".";  // for the message that it is missing
  }

  Result<BottleneckOperator> read_at(const std::string& prefix, uint64_t width) {
    BottleneckOperator bottleneck = config_.options;
    const std::string down = prefix + (config_.norm_before ? "adapter_down.1." : "adapter_down.0.");
    PETS_ASSIGN_OR_RETURN(bottleneck.down, tensors_->matrix(down + "weight", width, base_.hidden));
    PETS_ASSIGN_OR_RETURN(bottleneck.down_bias, tensors_->vector(down + "bias", width));
    PETS_ASSIGN_OR_RETURN(bottleneck.up, tensors_->matrix(prefix + "adapter_up.weight", base_.hidden, width));
    PETS_ASSIGN_OR_RETURN(bottleneck.up_bias, tensors_->vector(prefix + "adapter_up.bias", base_.hidden));
    if (config_.norm_before) PETS_RETURN_IF_ERROR(read_norm_before(prefix, &bottleneck.norm_before));
    if (config_.norm_after) {
      PETS_ASSIGN_OR_RETURN(bottleneck.norm_after, read_norm(prefix + "adapter_norm_after."));
    }
    using Scaling = HubBottleneckConfig::Scaling;
    if (config_.scaling == Scaling::kLearned) {
      PETS_ASSIGN_OR_RETURN(const std::vector<float> scaling, tensors_->vector(prefix + "scaling", 1));
      bottleneck.scaling = scaling[0];
    } else if (config_.scaling == Scaling::kChannel) {
      PETS_ASSIGN_OR_RETURN(bottleneck.channel_scaling, tensors_->vector(prefix + "scaling", base_.hidden));
    }
    return bottleneck;
  }

  Result<NormOperator> read_norm(const std::string& prefix) {
    NormOperator norm;
    PETS_ASSIGN_OR_RETURN(norm.gamma, tensors_->vector(prefix + "weight", base_.hidden));
    PETS_ASSIGN_OR_RETURN(norm.beta, tensors_->vector(prefix + "bias", base_.hidden));
    return norm;
  }

  /// The library registers this norm twice, as adapter_norm_before and as the first of adapter_down: a file holds either name, or both.
  Status read_norm_before(const std::string& prefix, std::optional<NormOperator>* norm) {
    const std::string names[] = {prefix + "adapter_norm_before.", prefix + "adapter_down.0."};
    const bool second = tensors_->has(names[1] + "weight");
    if (tensors_->has(names[0] + "weight") || !second) {
      PETS_ASSIGN_OR_RETURN(*norm, read_norm(names[0]));
    }
    if (!second) return {};
    PETS_ASSIGN_OR_RETURN(NormOperator other, read_norm(names[1]));
    if (!norm->has_value()) {
      *norm = std::move(other);
      return {};
    }
    if (same_bits((*norm)->gamma, other.gamma) && same_bits((*norm)->beta, other.beta)) return {};
    return Status::error(ErrorCode::kInvalidArgument, "%s: `%s*` and `%s*` are one LayerNorm, but their values differ",
                         tensors_->file().path().c_str(), utf8::printable(names[0], 200).c_str(), utf8::printable(names[1], 200).c_str());
  }

  static bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  const BaseModel& base_;
  const HubConfig& hub_;
  const HubBottleneckConfig& config_;
  TensorReader* tensors_;
};

}  // namespace

Result<std::vector<Operator>> read_hub_bottlenecks(const BaseModel& base, const HubConfig& config, TensorReader* tensors) {
  return BottleneckReader(base, config, tensors).read();
}

}  // namespace pets::converter
