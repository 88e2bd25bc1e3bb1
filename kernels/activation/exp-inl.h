// exp and 2^x on rows, shared by the activations and the softmax.
#pragma once

#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// 1.5 * 2^23: adding it rounds a float of magnitude below 2^22 to an integer, which then stands in the low bits.
inline constexpr float kRoundingShift = 12582912.0f;

/// 2^(n + f) for f in [-0.5, 0.5] (minimax, relative error 2e-9 before rounding) and n = shifted - kRoundingShift in [-126, 127].
PETS_INLINE Rows16 exp2_parts(const Rows16& f, const Rows16& shifted) {
  Rows16 p = mul_add(f, broadcast(0.000153533620f), broadcast(0.00133988739f));
  p = mul_add(p, f, broadcast(0.00961843692f));
  p = mul_add(p, f, broadcast(0.0555033237f));
  p = mul_add(p, f, broadcast(0.240226477f));
  p = mul_add(p, f, broadcast(0.693147182f));
  p = mul_add(p, f, broadcast(1.0f));
  return floats(add(bits(p), shift_left<23>(bits(shifted))));
}

/// 2^x for x in [-126, 126], one degree less: relative error 9e-8 before rounding.
PETS_INLINE Rows16 exp2_short(const Rows16& x) {
  const Rows16 shifted = add(x, broadcast(kRoundingShift));
  const Rows16 f = sub(x, sub(shifted, broadcast(kRoundingShift)));
  Rows16 p = mul_add(f, broadcast(0.00132647273f), broadcast(0.00967151299f));
  p = mul_add(p, f, broadcast(0.0555073358f));
  p = mul_add(p, f, broadcast(0.240222424f));
  p = mul_add(p, f, broadcast(0.693147004f));
  p = mul_add(p, f, broadcast(1.0f));
  return floats(add(bits(p), shift_left<23>(bits(shifted))));
}

/// e^x for x <= 88; below -87.3 it stays at e^-87.3 (1e-38), and NaN stays NaN.
/// Relative error below 1.5e-7 (1.2 units in the last place).
PETS_INLINE Rows16 exp_to_88(const Rows16& x) {
  const Rows16 bounded = at_least(x, -87.3f);
  // log2(e) in two parts: the first product is exact enough in the fused step, the second adds what float cannot hold.
  const Rows16 shifted = mul_add(bounded, broadcast(1.44269502f), broadcast(kRoundingShift));
  const Rows16 n = sub(shifted, broadcast(kRoundingShift));
#if PETS_FUSED
  const Rows16 f = mul_add(bounded, broadcast(1.92596303e-8f), mul_sub(bounded, broadcast(1.44269502f), n));
#else
  // Without fusing, the product would lose the bits that cancel: subtract n * ln 2, whose upper part has trailing zeros, instead.
  const Rows16 r = sub(sub(bounded, mul(n, broadcast(0.693359375f))), mul(n, broadcast(-2.12194440e-4f)));
  const Rows16 f = mul(r, broadcast(1.44269502f));
#endif
  return exp2_parts(f, shifted);
}

/// The same for any x: above 88 it stays at e^88 (1.7e38). NaN gives some number: callers that must keep it do so themselves.
PETS_INLINE Rows16 exp_clamped(const Rows16& x) { return exp_to_88(min(x, broadcast(88.0f))); }

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
