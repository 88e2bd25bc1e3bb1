// Element-wise activations as device functions, in float.
//
// Largest error of all but fast_gelu, absolute, relative to max(1, |x|): 6 roundings of float (6 * 2^-24), given CUDA's erff, tanhf and
// expf, which are within 2 units in the last place. The fast intrinsics (__expf) are not: their error grows with |x|. NaN stays NaN,
// infinities give the limits.
#pragma once

#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

/// x * gate, and the limit 0 at -infinity, where every gate is 0.
__device__ __forceinline__ float gated(float x, float gate) { return x == -INFINITY ? 0.0F : x * gate; }

__device__ __forceinline__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

/// 2^x within 2^-22 of it, zero where it is less than float's normal numbers: one instruction.
__device__ __forceinline__ float short_exp2(float x) {
#if defined(PETS_EMULATED_CUDA)
  return x < -126 ? 0.0F : std::exp2(x);
#elif defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

/// The GELU of Activation::kGelu for results that are rounded to 16 bits: max(x, 0) - a 2^q(a) with a = |x|, where 2^q(a) is
/// erfc(a / sqrt 2) / 2 and q a polynomial (gelu_cuda_fit.py). Largest error 2^-14.6 of max(|result|, 2^-10), a twelfth of half a unit of
/// half; 9 instructions, one of them at a quarter of the rate or less, where erff alone takes three times as many. q goes on falling, and
/// the factor a ends at 16, where 2^q is zero, so that infinities give the limits; NaN stays by way of q.
__device__ __forceinline__ float fast_gelu(float x) {
  const float a = fabsf(x);
  float q = fmaf(a, -0.000375685207F, 0.00633702413F);
  q = fmaf(q, a, -0.0498644186F);
  q = fmaf(q, a, -0.462035342F);
  q = fmaf(q, a, -1.15009084F);
  q = fmaf(q, a, -1.00005937F);
  return fmaf(-fminf(a, 16.0F), short_exp2(q), fmaxf(x, 0.0F));
}

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
