#include "converter/model/activation_names.h"

#include <string>

namespace pets::converter {
namespace {

struct ActivationName {
  std::string_view name;
  Activation activation;
};

// transformers/activations.py, ACT2CLS. gelu_fast and gelu_accurate are the tanh form too: they differ from it in rounding only.
constexpr ActivationName kTransformers[] = {
    {"gelu", Activation::kGelu},
    {"gelu_python", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_accurate", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_python_tanh", Activation::kGeluTanh},
    {"leaky_relu", Activation::kLeakyRelu},
    {"linear", Activation::kNone},
    {"mish", Activation::kMish},
    {"quick_gelu", Activation::kQuickGelu},
    {"relu", Activation::kRelu},
    {"relu6", Activation::kRelu6},
    {"sigmoid", Activation::kSigmoid},
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"tanh", Activation::kTanh},
};

constexpr ActivationName kOperators[] = {
    {"none", Activation::kNone},
    {"relu", Activation::kRelu},
    {"gelu", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"swish", Activation::kSilu},
    {"silu", Activation::kSilu},
    {"tanh", Activation::kTanh},
    {"sigmoid", Activation::kSigmoid},
    {"leaky_relu", Activation::kLeakyRelu},
    {"relu6", Activation::kRelu6},
    {"elu", Activation::kElu},
    {"mish", Activation::kMish},
    {"quick_gelu", Activation::kQuickGelu},
};

template <size_t kSize>
std::optional<Activation> find(const ActivationName (&names)[kSize], std::string_view name) {
  for (const ActivationName& entry : names) {
    if (entry.name == name) return entry.activation;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Activation> transformers_activation(std::string_view name) { return find(kTransformers, name); }

std::optional<Activation> adapterhub_activation(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower == "leakyrelu") return Activation::kLeakyRelu;
  return find(kTransformers, lower);
}

std::optional<Activation> operators_activation(std::string_view name) { return find(kOperators, name); }

std::string_view transformers_activation_name(Activation activation) {
  for (const ActivationName& known : kTransformers) {
    if (known.activation == activation) return known.name;
  }
  return "none";
}

}  // namespace pets::converter
