// Element-wise activations for one instruction set: see activation/activation.h.
//
// Largest error against double precision, absolute, relative to max(1, |x|), held by tests: gelu 1.5e-7, all others 3e-7.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/activation/exp-inl.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// 0 where x is negative; NaN stays, which NEON's maximum would drop.
PETS_INLINE Rows16 relu(const Rows16& x) { return select(less(x, broadcast(0)), broadcast(0), x); }

/// x * Phi(x) = relu(x) - a * erfc(a / sqrt 2) / 2 with a = |x|, and erfc(a / sqrt 2) / 2 = 2^q(a), q a polynomial fitted to the error
/// that is left in the product (5.1e-8; one degree more gives 2.7e-8). One range, no division, no table: 21 operations.
PETS_INLINE Rows16 gelu(const Rows16& x) {
  const Rows16 a = min(absolute(x), broadcast(10.0f));  // 2^q is 1e-23 there
  Rows16 q = mul_add(a, broadcast(3.30927760e-5f), broadcast(-0.000769219361f));
  q = mul_add(q, a, broadcast(0.00808071531f));
  q = mul_add(q, a, broadcast(-0.0534121022f));
  q = mul_add(q, a, broadcast(-0.458770961f));
  q = mul_add(q, a, broadcast(-1.15120173f));
  q = mul_add(q, a, broadcast(-0.999993086f));
  return neg_mul_add(a, exp2_short(q), relu(x));
}

/// 1 / (1 + e^-x)
PETS_INLINE Rows16 sigmoid(const Rows16& x) { return div(rows_of(1), add(exp_clamped(sub(rows_of(0), x)), broadcast(1))); }

/// x * sigmoid(g), where g has the sign of x. Far below zero the product is 0, also for -infinity; NaN stays.
PETS_INLINE Rows16 gated(const Rows16& x, const Rows16& g) {
  return select(less(g, broadcast(-88)), broadcast(0), div(x, add(exp_clamped(sub(rows_of(0), g)), broadcast(1))));
}

PETS_INLINE Rows16 gelu_tanh(const Rows16& x) {  // 0.5 (1 + tanh u) = sigmoid(2 u)
  const Rows16 slope = mul_add(mul(x, x), broadcast(2 * 0.0356774081f), broadcast(2 * 0.797884561f));
  return gated(x, mul(x, slope));
}

/// An odd polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
PETS_INLINE Rows16 tanh_rows(const Rows16& x) {
  const Rows16 a = absolute(x);
  const Rows16 z = mul(x, x);
  Rows16 p = mul_add(z, broadcast(-0.00552862510f), broadcast(0.0204833075f));
  p = mul_add(p, z, broadcast(-0.0536929667f));
  p = mul_add(p, z, broadcast(0.133308992f));
  p = mul_add(p, z, broadcast(-0.333332628f));
  const Rows16 small = mul_add(mul(p, z), x, x);
  const Rows16 large = sub(rows_of(1), div(rows_of(2), add(exp_clamped(add(a, a)), broadcast(1))));
  const Rows16 signed_large = select(less(x, broadcast(0)), sub(rows_of(0), large), large);
  // Written so that NaN, which is less than nothing, takes the polynomial and stays NaN.
  return select(less(sub(rows_of(0), a), broadcast(-0.625f)), signed_large, small);
}

/// x tanh(log(1 + e)) = x n / (n + 2), n = e (e + 2), e = e^x.
PETS_INLINE Rows16 mish(const Rows16& x) {
  const Rows16 e = exp_clamped(min(x, broadcast(20.0f)));
  const Rows16 n = mul(e, add(e, broadcast(2)));
  const Rows16 y = mul(x, div(n, add(n, broadcast(2))));
  return select(less(x, broadcast(-87)), broadcast(0), y);
}

PETS_INLINE Rows16 activation_of(Activation activation, const Rows16& x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return relu(x);
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kSilu:
      return gated(x, x);
    case Activation::kTanh:
      return tanh_rows(x);
    case Activation::kSigmoid:
      return select(is_number(x), sigmoid(x), x);
    case Activation::kLeakyRelu:
      return select(less(x, broadcast(0)), mul(x, broadcast(0.01f)), x);
    case Activation::kRelu6: {
      const Rows16 over = sub(rows_of(6), x);
      return select(less(over, broadcast(0)), broadcast(6), relu(x));
    }
    case Activation::kElu:
      return select(less(x, broadcast(0)), sub(exp_clamped(x), broadcast(1)), x);
    case Activation::kQuickGelu:
      return gated(x, mul(x, broadcast(1.702f)));
    case Activation::kMish:
      return mish(x);
  }
  return x;
}

template <Activation kActivation>
void activate_all(const float* x, size_t count, float* y) {
  for (size_t i = 0; i < count; i += kStripRows) store(activation_of(kActivation, load(x + i)), y + i);
}

inline void activate(Activation activation, const float* x, size_t features, float* y) {
  const size_t count = features * kStripRows;
  switch (activation) {
    case Activation::kNone:
      return activate_all<Activation::kNone>(x, count, y);
    case Activation::kRelu:
      return activate_all<Activation::kRelu>(x, count, y);
    case Activation::kGelu:
      return activate_all<Activation::kGelu>(x, count, y);
    case Activation::kGeluTanh:
      return activate_all<Activation::kGeluTanh>(x, count, y);
    case Activation::kSilu:
      return activate_all<Activation::kSilu>(x, count, y);
    case Activation::kTanh:
      return activate_all<Activation::kTanh>(x, count, y);
    case Activation::kSigmoid:
      return activate_all<Activation::kSigmoid>(x, count, y);
    case Activation::kLeakyRelu:
      return activate_all<Activation::kLeakyRelu>(x, count, y);
    case Activation::kRelu6:
      return activate_all<Activation::kRelu6>(x, count, y);
    case Activation::kElu:
      return activate_all<Activation::kElu>(x, count, y);
    case Activation::kMish:
      return activate_all<Activation::kMish>(x, count, y);
    case Activation::kQuickGelu:
      return activate_all<Activation::kQuickGelu>(x, count, y);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
