// pool_rows for one instruction set: see pooling/pooling.h. One row of many lanes is read, so this is plain code; eight features at
// once hide the latency of the sums.
#pragma once

#include "kernels/pooling/pooling.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

template <int kFeatures>
PETS_INLINE void pool_features(const PoolRows& p, size_t f) {
  const auto at = [&p, f](uint32_t row) { return p.x + row / kStripRows * p.x_stride + row % kStripRows + f * kStripRows; };
  const float* first = at(p.first_row);
  float sum[kFeatures];
  PETS_UNROLL for (int i = 0; i < kFeatures; ++i) sum[i] = first[i * kStripRows];
  for (uint32_t r = 1; r < p.rows; ++r) {
    const float* x = at(p.first_row + r);
    PETS_UNROLL for (int i = 0; i < kFeatures; ++i) sum[i] += x[i * kStripRows];
  }
  PETS_UNROLL for (int i = 0; i < kFeatures; ++i) {
    p.out[(f + i) * kStripRows + p.out_lane] = p.rows == 1 ? sum[i] : sum[i] / static_cast<float>(p.rows);
  }
}

inline void pool_rows(const PoolRows& p) {
  size_t f = 0;
  for (; f + 8 <= p.features; f += 8) pool_features<8>(p, f);
  for (; f < p.features; ++f) pool_features<1>(p, f);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
