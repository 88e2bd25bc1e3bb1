// Element-wise activations on strips.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// The values are those of schema::Activation (a test keeps them equal).
enum class Activation : uint8_t {
  kNone = 0,
  kRelu = 1,
  kGelu = 2,      ///< x * 0.5 * (1 + erf(x / sqrt 2)), the exact form
  kGeluTanh = 3,  ///< 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  kSilu = 4,
  kTanh = 5,
  kSigmoid = 6,
  kLeakyRelu = 7,  ///< slope 0.01
  kRelu6 = 8,
  kElu = 9,  ///< alpha 1
  kMish = 10,
  kQuickGelu = 11  ///< x * sigmoid(1.702 x)
};

/// y[i] = activation(x[i]) for features * 16 floats, aligned; y may be x. Largest errors against double precision are stated in
/// activation-inl.h and held by tests. NaN stays NaN, infinities give the limits.
using ActivateFn = void (*)(Activation activation, const float* x, size_t features, float* y);

}  // namespace pets::kernels
