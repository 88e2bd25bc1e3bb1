// Element-wise activations as device functions, in float.
//
// Largest error, absolute, relative to max(1, |x|): 6 roundings of float (6 * 2^-24), given CUDA's erff, tanhf and expf, which are within
// 2 units in the last place. The fast intrinsics (__expf) are not: their error grows with |x|. NaN stays NaN, infinities give the limits.
#pragma once

#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

/// x * gate, and the limit 0 at -infinity, where every gate is 0.
__device__ __forceinline__ float gated(float x, float gate) { return x == -INFINITY ? 0.0F : x * gate; }

__device__ __forceinline__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

template <Activation kActivation>
__device__ __forceinline__ float activated(float x) {
  if constexpr (kActivation == Activation::kRelu) {
    return x < 0 ? 0.0F : x;
  } else if constexpr (kActivation == Activation::kGelu) {
    return gated(x, 0.5F * (1.0F + erff(x * 0.707106781F)));
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    return gated(x, 0.5F * (1.0F + tanhf(x * fmaf(x * x, 0.0356774081F, 0.797884561F))));
  } else if constexpr (kActivation == Activation::kSilu) {
    return gated(x, sigmoid(x));
  } else if constexpr (kActivation == Activation::kTanh) {
    return tanhf(x);
  } else if constexpr (kActivation == Activation::kSigmoid) {
    return sigmoid(x);
  } else if constexpr (kActivation == Activation::kLeakyRelu) {
    return x < 0 ? 0.01F * x : x;
  } else if constexpr (kActivation == Activation::kRelu6) {
    return x < 0 ? 0.0F : x > 6 ? 6.0F : x;
  } else if constexpr (kActivation == Activation::kElu) {
    return x < 0 ? expm1f(x) : x;
  } else if constexpr (kActivation == Activation::kMish) {
    // x tanh(log(1 + e)) = x n / (n + 2), n = e (e + 2), e = e^x; from 20 on the quotient is 1, before e^2 overflows.
    const float e = expf(x < 20 ? x : 20.0F), n = e * (e + 2.0F);
    return gated(x, n / (n + 2.0F));
  } else if constexpr (kActivation == Activation::kQuickGelu) {
    return gated(x, sigmoid(1.702F * x));
  } else {
    static_assert(kActivation == Activation::kNone);
    return x;
  }
}

template <Activation kActivation, unsigned kSize>
__device__ __forceinline__ void activate_all(FloatVector<kSize>& x) {
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) x[i] = activated<kActivation>(x[i]);
}

/// The branch is the same for all threads of a launch or a block, and is taken once for all values.
template <unsigned kSize>
__device__ __forceinline__ void activate(Activation activation, FloatVector<kSize>& x) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return activate_all<Activation::kRelu>(x);
    case Activation::kGelu:
      return activate_all<Activation::kGelu>(x);
    case Activation::kGeluTanh:
      return activate_all<Activation::kGeluTanh>(x);
    case Activation::kSilu:
      return activate_all<Activation::kSilu>(x);
    case Activation::kTanh:
      return activate_all<Activation::kTanh>(x);
    case Activation::kSigmoid:
      return activate_all<Activation::kSigmoid>(x);
    case Activation::kLeakyRelu:
      return activate_all<Activation::kLeakyRelu>(x);
    case Activation::kRelu6:
      return activate_all<Activation::kRelu6>(x);
    case Activation::kElu:
      return activate_all<Activation::kElu>(x);
    case Activation::kMish:
      return activate_all<Activation::kMish>(x);
    case Activation::kQuickGelu:
      return activate_all<Activation::kQuickGelu>(x);
  }
}

}  // namespace pets::kernels::cuda
