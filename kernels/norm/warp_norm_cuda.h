// LayerNorm of a row that lies in the registers of a warp.
#pragma once

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

/// A row of up to kVectors * 256 features: vector v of lane l has those from (v * 32 + l) * 8 on, so that a warp's accesses are contiguous.
template <unsigned kVectors>
struct WarpRow {
  Vector8 vectors[kVectors];
};
inline constexpr unsigned kWarpRowFeatures = kWarpSize * kVectorSize;  ///< of a vector in every lane

/// Calls body(vector, at) for the vectors of this lane that lie in the row; `at` is a vector's first feature. `width` is a multiple of 8.
template <unsigned kVectors, class Body>
__device__ __forceinline__ void for_each_vector(WarpRow<kVectors>& row, unsigned width, const Body& body) {
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) {
    const unsigned at = (v * kWarpSize + threadIdx.x % kWarpSize) * kVectorSize;
    if (at < width) body(row.vectors[v], at);
  }
}

/// row = (row - mean) / sqrt(variance + epsilon) * gamma + beta: two passes over registers, the same order of sums for every row. All lanes
/// of the warp together.
template <unsigned kVectors>
__device__ __forceinline__ void normalize(WarpRow<kVectors>& row, unsigned width, const float* gamma, const float* beta, float epsilon) {
  float sum = 0;
  for_each_vector(row, width, [&](const Vector8& x, unsigned) {
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) sum += x[i];
  });
  const float mean = warp_sum(sum) / static_cast<float>(width);
  float squares = 0;
  for_each_vector(row, width, [&](Vector8& x, unsigned) {
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) {
      x[i] -= mean;
      squares = fmaf(x[i], x[i], squares);
    }
  });
  const float inverse = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  for_each_vector(row, width,
                  [&](Vector8& x, unsigned at) { x = fma(x * constant_vector(inverse), load_vector(gamma + at), load_vector(beta + at)); });
}

}  // namespace pets::kernels::cuda
