// Layer normalization of strips, with each task's own gamma and beta (Ba et al. 2016).
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// Rows that share gamma and beta.
struct NormSegment {
  LaneMask lanes = 0;
  const float* gamma = nullptr;  ///< [hidden]
  const float* beta = nullptr;   ///< [hidden]
};

/// t = a + b (b may be null: t = a); y = (t - mean(t)) / sqrt(var(t) + epsilon) * gamma + beta, per row over `hidden` features;
/// biased variance computed in a second pass about the mean. Rows in no segment keep the bits of y.
/// a, b, y: [hidden][16], aligned; y may be a or b. Sums over features run in one fixed order whatever the batch.
struct LayerNorm {
  const float* a = nullptr;
  const float* b = nullptr;
  size_t hidden = 0;
  float epsilon = 0;
  const NormSegment* segments = nullptr;
  uint32_t segment_count = 0;
  float* y = nullptr;
};
using LayerNormFn = void (*)(const LayerNorm&);

}  // namespace pets::kernels
