#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// x * gate, and the limit 0 at -infinity, where every gate is 0.
double gated(double x, double gate) { return x == -INFINITY ? 0 : x * gate; }

double value(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < 0 ? 0 : x;
    case Activation::kGelu:
      return gated(x, 0.5 * std::erfc(-x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return gated(x, 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
    case Activation::kSilu:
      return gated(x, sigmoid(x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kLeakyRelu:
      return x < 0 ? 0.01 * x : x;
    case Activation::kRelu6:
      return x < 0 ? 0 : x > 6 ? 6 : x;
    case Activation::kElu:
      return x < 0 ? std::expm1(x) : x;
    case Activation::kMish:
      return gated(x, std::tanh(x > 700 ? x : std::log1p(std::exp(x))));
    case Activation::kQuickGelu:
      return gated(x, sigmoid(1.702 * x));
  }
  return x;
}

}  // namespace

void activate(Activation activation, const float* x, size_t features, float* y) {
  for (size_t i = 0; i < features * kStripRows; ++i) y[i] = static_cast<float>(value(activation, static_cast<double>(x[i])));
}

}  // namespace pets::kernels::reference
