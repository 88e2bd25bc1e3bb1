// Sizes of a base as they are on the device: the intermediate size is padded to what tensor cores' tiles take. Padded
// outputs of the first FFN linear are activation(0), which the padded inputs of the second, whose weights are zero, ignore.
#pragma once

#include "kernels/cuda/task_operators.h"
#include "runtime/cuda/limits.h"
#include "runtime/engine/weights.h"

namespace pets::cuda {

constexpr uint32_t round_up(uint32_t value, uint32_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr uint32_t padded(uint32_t features) { return round_up(features, kFeatureMultiple); }
/// Of a low-rank operator's rank and a bottleneck's inner width.
constexpr uint32_t padded_rank(uint32_t rank) { return round_up(rank, kernels::cuda::kRankMultiple); }

struct LinearShape {
  uint32_t in = 0, out = 0;
};

/// Of a linear of the layers or of a head; equal to the bundle's own where nothing is padded.
inline LinearShape device_shape(const engine::LinearWeights& linear) { return {padded(linear.in), padded(linear.out)}; }

}  // namespace pets::cuda
