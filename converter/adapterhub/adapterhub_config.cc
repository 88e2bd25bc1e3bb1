#include "converter/adapterhub/adapterhub_config.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "converter/model/activation_names.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr KeyRule kTopRules[] = {
    {"config"},
    {"hidden_size"},
    {"model_type"},
    {"name"},
    {"version"},
    {"model_class", KeyUse::kIrrelevant},
    {"model_name", KeyUse::kIrrelevant},
    // Written by adapter-transformers, the library's predecessor.
    {"type", KeyUse::kIrrelevant},
    {"config_id", KeyUse::kIrrelevant},
};

constexpr std::string_view kNotSupported = "not supported";

constexpr KeyRule kBottleneckRules[] = {
    {"architecture"},
    {"mh_adapter"},
    {"output_adapter"},
    {"reduction_factor"},
    {"non_linearity"},
    {"original_ln_before"},
    {"original_ln_after"},
    {"ln_before"},
    {"ln_after"},
    {"is_parallel"},
    {"scaling"},
    {"residual_before_ln"},
    {"adapter_residual_before_ln"},
    {"leave_out"},
    {"use_gating", KeyUse::kDefault, "[false]", "gated adapters are not supported"},
    {"inv_adapter", KeyUse::kDefault, "[]", "invertible adapters are not supported"},
    {"invertible_adapter", KeyUse::kDefault, "[]", "invertible adapters are not supported"},
    {"phm_layer", KeyUse::kDefault, "[false]", "Compacter's PHM layers are not supported"},
    // An encoder has no cross-attention.
    {"cross_adapter", KeyUse::kIrrelevant},
    // Training and initialisation only.
    {"init_weights", KeyUse::kIrrelevant},
    {"init_weights_seed", KeyUse::kIrrelevant},
    {"dropout", KeyUse::kIrrelevant},
    {"stochastic_depth", KeyUse::kIrrelevant},
    // These mean something only where inv_adapter or phm_layer is set.
    {"inv_adapter_reduction_factor", KeyUse::kIrrelevant},
    {"phm_dim", KeyUse::kIrrelevant},
    {"factorized_phm_W", KeyUse::kIrrelevant},
    {"shared_W_phm", KeyUse::kIrrelevant},
    {"shared_phm_rule", KeyUse::kIrrelevant},
    {"factorized_phm_rule", KeyUse::kIrrelevant},
    {"phm_c_init", KeyUse::kIrrelevant},
    {"phm_init_range", KeyUse::kIrrelevant},
    {"learn_phm", KeyUse::kIrrelevant},
    {"hypercomplex_nonlinearity", KeyUse::kIrrelevant},
    {"phm_rank", KeyUse::kIrrelevant},
    {"phm_bias", KeyUse::kIrrelevant},
};

constexpr KeyRule kLoraRules[] = {
    {"architecture"},
    {"selfattn_lora"},
    {"intermediate_lora"},
    {"output_lora"},
    {"leave_out"},
    {"r"},
    {"alpha"},
    {"attn_matrices"},
    {"composition_mode"},
    {"use_dora"},
    {"use_gating", KeyUse::kDefault, "[false]", "gated LoRA is not supported"},
    {"vera_d", KeyUse::kDefault, "[]", "VeRA is not supported"},
    {"vera_b", KeyUse::kDefault, "[]", "VeRA is not supported"},
    {"init_weights", KeyUse::kIrrelevant},
    {"init_weights_seed", KeyUse::kIrrelevant},
    {"dropout", KeyUse::kIrrelevant},
    // The type the tensors were trained in: they carry their own.
    {"dtype", KeyUse::kIrrelevant},
};

/// The object `config` of the file, with Python's idea of what is true.
class HubMethodReader {
 public:
  HubMethodReader(const OrderedJson& config, std::string where) : config_(config), where_(std::move(where)) {}

  Status refuse(const char* key, const std::string& message) const {
    return Status::error(ErrorCode::kUnsupported, "%s: `%s`: %s", where_.c_str(), key, message.c_str());
  }

  /// null is false, as in Python; only an absent key has its default.
  Result<bool> flag(const char* key, std::optional<bool> fallback) const {
    if (const auto found = config_.find(key); found != config_.end() && found->is_null()) return false;
    return get_bool(config_, key, where_, fallback);
  }

  Result<std::set<int64_t>> leave_out() const {
    std::set<int64_t> layers;
    const auto found = config_.find("leave_out");
    if (found == config_.end() || found->is_null()) return layers;
    if (!found->is_array()) return refuse("leave_out", "expected a list of layers, found " + json_text(*found));
    for (const OrderedJson& layer : *found) {
      if (!layer.is_number_integer()) return refuse("leave_out", "expected a layer's number, found " + json_text(layer));
      layers.insert(layer.get<int64_t>());
    }
    return layers;
  }

  /// Files without a version are of adapter-transformers before 2: they call the tanh form `gelu`.
  Result<HubBottleneckConfig> bottleneck(bool has_version) const {
    PETS_RETURN_IF_ERROR(check_keys(config_, kBottleneckRules, where_));
    HubBottleneckConfig result;
    BottleneckOperator& options = result.options;
    PETS_ASSIGN_OR_RETURN(result.after_attention, flag("mh_adapter", std::nullopt));
    PETS_ASSIGN_OR_RETURN(result.after_ffn, flag("output_adapter", std::nullopt));
    PETS_ASSIGN_OR_RETURN(result.norm_before, flag("ln_before", false));
    PETS_ASSIGN_OR_RETURN(result.norm_after, flag("ln_after", false));
    PETS_ASSIGN_OR_RETURN(options.parallel, flag("is_parallel", false));
    PETS_ASSIGN_OR_RETURN(options.original_norm_before, flag("original_ln_before", false));
    PETS_ASSIGN_OR_RETURN(options.original_norm_after, flag("original_ln_after", true));
    PETS_ASSIGN_OR_RETURN(options.adapter_residual_before_norm, flag("adapter_residual_before_ln", false));
    PETS_RETURN_IF_ERROR(read_residual(&options));
    PETS_RETURN_IF_ERROR(read_scaling(&result));
    PETS_RETURN_IF_ERROR(read_reduction_factor(&result.reduction_factor));
    PETS_ASSIGN_OR_RETURN(std::string name, get_string(config_, "non_linearity", where_, std::nullopt));
    if (!has_version && name == "gelu") name = "gelu_new";
    if (!has_version && name == "gelu_orig") name = "gelu";
    const std::optional<Activation> activation = adapterhub_activation(name);
    if (!activation) return refuse("non_linearity", in_quotes(name) + " is " + std::string(kNotSupported));
    options.activation = *activation;
    return result;
  }

  Result<HubLoraConfig> lora(const std::string& version) const {
    PETS_RETURN_IF_ERROR(check_keys(config_, kLoraRules, where_));
    HubLoraConfig result;
    PETS_ASSIGN_OR_RETURN(const bool attention, flag("selfattn_lora", true));
    if (attention) PETS_RETURN_IF_ERROR(read_attention_matrices(&result));
    PETS_ASSIGN_OR_RETURN(result.up, flag("intermediate_lora", false));
    PETS_ASSIGN_OR_RETURN(result.down, flag("output_lora", false));
    PETS_ASSIGN_OR_RETURN(result.dora, flag("use_dora", false));
    PETS_ASSIGN_OR_RETURN(result.rank, get_unsigned(config_, "r", where_, 8, 65535));
    PETS_ASSIGN_OR_RETURN(result.alpha, get_number(config_, "alpha", where_, 8.0));
    PETS_ASSIGN_OR_RETURN(const std::string mode, get_string(config_, "composition_mode", where_, "add"));
    if (mode != "add" && mode != "scale") return refuse("composition_mode", "expected add or scale, found " + in_quotes(mode));
    result.multiplies = mode == "scale";
    if (result.rank == 0) return refuse("r", "expected 1 or more, found 0");
    if (result.multiplies && (result.rank != 1 || result.dora)) {
      return refuse("composition_mode", "scale needs r = 1 and no DoRA, as the library does");
    }
    // The library's own repair of what its versions before 1.1 trained (adapters/loading.py, _fix_backward_compat).
    if (scaled_wrongly(version)) result.alpha = static_cast<double>(result.rank);
    return result;
  }

 private:
  /// Below 1.1.0 in the order of Python's packaging.version, where "1.1.0.dev0", "1.1a1" and "1.1.0rc1" come before "1.1.0".
  static bool scaled_wrongly(std::string_view version) {
    constexpr std::string_view kPrefix = "adapters.";
    if (!version.starts_with(kPrefix)) return false;
    version.remove_prefix(kPrefix.size());
    if (version.starts_with('v')) version.remove_prefix(1);
    uint64_t numbers[3] = {};
    const char* at = version.data();
    const char* const end = at + version.size();
    for (uint64_t& number : numbers) {
      const auto [behind, error] = std::from_chars(at, end, number);
      if (error != std::errc()) break;
      at = behind;
      if (at == end || *at != '.') break;
      ++at;
    }
    const auto [major, minor, patch] = numbers;
    if (at != end && *at == '!') return false;  // an epoch, above every plain version
    if (major != 1) return major < 1;
    if (minor != 1) return minor < 1;
    return patch == 0 && at != end && std::string_view("abcrd").find(*at) != std::string_view::npos;  // a, b, c, rc, dev
  }

  Status read_residual(BottleneckOperator* options) const {
    using schema::ResidualBeforeNorm;
    const auto found = config_.find("residual_before_ln");
    if (found != config_.end() && *found == "post_add") {
      options->residual_before_norm = ResidualBeforeNorm::kPostAdd;
      if (options->parallel || options->original_norm_before) return {};
      return refuse("residual_before_ln", "post_add needs original_ln_before: the library itself fails without");
    }
    if (found != config_.end() && found->is_string()) {
      return refuse("residual_before_ln", "expected true, false or post_add, found " + json_text(*found));
    }
    PETS_ASSIGN_OR_RETURN(const bool before, flag("residual_before_ln", true));
    options->residual_before_norm = before ? ResidualBeforeNorm::kBase : ResidualBeforeNorm::kOriginal;
    return {};
  }

  Status read_scaling(HubBottleneckConfig* result) const {
    const auto found = config_.find("scaling");
    if (found == config_.end()) return {};
    if (*found == "learned") {
      result->scaling = HubBottleneckConfig::Scaling::kLearned;
    } else if (*found == "channel") {
      result->scaling = HubBottleneckConfig::Scaling::kChannel;
    } else if (found->is_number()) {
      result->options.scaling = static_cast<float>(found->get<double>());
    } else {
      return refuse("scaling", "expected a number, learned or channel, found " + json_text(*found));
    }
    return {};
  }

  Status read_reduction_factor(std::map<std::string, double>* factors) const {
    const auto found = config_.find("reduction_factor");
    if (found == config_.end()) return refuse("reduction_factor", "is missing");
    const auto add = [&](const std::string& layer, const OrderedJson& value) -> Status {
      if (!value.is_number() || !(value.get<double>() > 0)) {
        return refuse("reduction_factor", "expected a number above 0, found " + json_text(value));
      }
      (*factors)[layer] = value.get<double>();
      return {};
    };
    if (!found->is_object()) return add("default", *found);
    for (const auto& [layer, value] : found->items()) PETS_RETURN_IF_ERROR(add(layer, value));
    return {};
  }

  Status read_attention_matrices(HubLoraConfig* result) const {
    const auto found = config_.find("attn_matrices");
    if (found == config_.end()) {
      result->query = result->value = true;
      return {};
    }
    if (!found->is_array()) return refuse("attn_matrices", "expected a list of q, k, v, found " + json_text(*found));
    for (const OrderedJson& matrix : *found) {
      bool* wanted = matrix == "q" ? &result->query : matrix == "k" ? &result->key : matrix == "v" ? &result->value : nullptr;
      if (wanted == nullptr) return refuse("attn_matrices", "expected q, k or v, found " + json_text(matrix));
      *wanted = true;
    }
    return {};
  }

  const OrderedJson& config_;
  std::string where_;
};

Status check_base(const BaseModel& base, const OrderedJson& file, const std::string& path) {
  PETS_ASSIGN_OR_RETURN(const std::string type, get_string(file, "model_type", path, "bert"));
  if (type != "bert") {
    return Status::error(ErrorCode::kMismatch, "%s: model_type: expected bert, found %s", path.c_str(), in_quotes(type).c_str());
  }
  PETS_ASSIGN_OR_RETURN(const uint64_t hidden, get_unsigned(file, "hidden_size", path, base.hidden, UINT32_MAX));
  if (hidden == base.hidden) return {};
  return Status::error(ErrorCode::kMismatch, "%s: hidden_size: expected %u, as the base has, found %llu", path.c_str(), base.hidden,
                       static_cast<unsigned long long>(hidden));
}

}  // namespace

Result<HubConfig> read_hub_config(const BaseModel& base, const std::string& directory) {
  HubConfig result;
  result.path = join_path(directory, "adapter_config.json");
  PETS_ASSIGN_OR_RETURN(const OrderedJson file, load_config_object(result.path));
  PETS_RETURN_IF_ERROR(check_keys(file, kTopRules, result.path));
  PETS_RETURN_IF_ERROR(check_base(base, file, result.path));
  PETS_ASSIGN_OR_RETURN(result.name, get_string(file, "name", result.path, std::nullopt));
  PETS_ASSIGN_OR_RETURN(const std::string version, get_string(file, "version", result.path, ""));

  const auto config = file.find("config");
  if (config == file.end() || !config->is_object()) {
    return Status::error(ErrorCode::kUnsupported, "%s: `config`: expected an object, found %s", result.path.c_str(),
                         config == file.end() ? "nothing" : json_text(*config).c_str());
  }
  const HubMethodReader method(*config, result.path + ": config");
  PETS_ASSIGN_OR_RETURN(const std::string architecture, get_string(*config, "architecture", result.path + ": config", ""));
  if (architecture.empty()) {
    PETS_ASSIGN_OR_RETURN(result.method, method.bottleneck(file.contains("version")));
  } else if (architecture == "lora") {
    PETS_ASSIGN_OR_RETURN(result.method, method.lora(version));
  } else {
    // prefix_tuning, prompt_tuning, reft, mtl_lora, union (MAM, UniPELT).
    return method.refuse("architecture",
                         in_quotes(architecture) + " is not supported; expected a bottleneck adapter (no architecture) or lora");
  }
  PETS_ASSIGN_OR_RETURN(result.leave_out, method.leave_out());
  return result;
}

}  // namespace pets::converter
