// Shared linear operator: strips times a weight panel.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// One panel (up to 16 output columns) applied to `strips` strips:
///
///   y[s][c][row] = init + sum over k of x[s][k][row] * w[k][c]      one FMA chain, k ascending
///
/// `init` is `bias[s][c]` for every row of strip s, or, where `bias[s]` is null, what y[s] holds (so that a blended, per-row bias
/// can be laid there first, and so that a chain can be continued).
///
/// x: [k][16] floats, 64-byte aligned, strip s at x + s * x_stride (floats). y: [width][16], aligned, at y + s * y_stride.
/// `k` may be a part of the inputs: chains go on from y.
/// panel: [k][width], element type `type`, bfloat16 in pairs, [ceil(k / 2)][width][2]; no alignment needed; 64 bytes behind it must be
/// readable. No aliasing. Weights of 16 bits are widened in registers; accumulation is always float32. int8 goes to gemm/dot.h.
struct LinearPanel {
  const float* x = nullptr;
  size_t x_stride = 0;
  float* y = nullptr;
  size_t y_stride = 0;
  const void* panel = nullptr;
  WeightType type = WeightType::kFloat32;
  uint32_t width = kPanelColumns;      ///< 1..16
  size_t k = 0;                        ///< may be 0: y = init
  const float* const* bias = nullptr;  ///< [strips], entries may be null
  uint32_t strips = 1;
  uint32_t rows = kStripRows;      ///< of the last strip, the first ones: no more are wanted, the others of y become anything finite
  const void* prefetch = nullptr;  ///< the next panel, or null
};
using LinearPanelFn = void (*)(const LinearPanel&);

/// Continues the chains of one strip's tile, for the rows in `lanes` only: y[c][row] += sum over k of x[k][row] * w[k][c], with
/// y as the chain's start. Float32 weights [k][width]. Other rows keep their bits. This is LoRA's second factor (x = Z, k = rank).
struct LinearContinue {
  const float* x = nullptr;
  const float* panel = nullptr;
  size_t k = 0;
  uint32_t width = kPanelColumns;
  LaneMask lanes = kAllLanes;
  float* y = nullptr;
};
using LinearContinueFn = void (*)(const LinearContinue&);

}  // namespace pets::kernels
