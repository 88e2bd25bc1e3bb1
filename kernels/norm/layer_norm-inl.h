// layer_norm for one instruction set: see norm/layer_norm.h.
#pragma once

#include "kernels/norm/layer_norm.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Feature f adds to partial sum f % 4, then (0 + 1) + (2 + 3): four chains hide the latency of an addition, and shorter chains
/// round less.
inline constexpr size_t kPartialSums = 4;

inline void layer_norm(const LayerNorm& n) {
  // Where every row is written, y holds a + b from the first pass on: one load instead of two in each of the later ones.
  LaneMask written = 0;
  for (uint32_t s = 0; s < n.segment_count; ++s) written = static_cast<LaneMask>(written | n.segments[s].lanes);
  const bool keep_sum = n.b && written == kAllLanes;
  const float* a = n.a;
  const float* b = n.b;
  const auto input = [&a, &b](size_t f) PETS_LAMBDA {
    const Rows16 rows = load(a + f * kStripRows);
    return b ? add(rows, load(b + f * kStripRows)) : rows;
  };
  const auto first_input = [&](size_t f) PETS_LAMBDA {
    const Rows16 rows = input(f);
    if (keep_sum) store(rows, n.y + f * kStripRows);
    return rows;
  };
  const auto sum_of = [&n](auto term) PETS_LAMBDA {
    Rows16 sum[kPartialSums];
    PETS_UNROLL for (size_t i = 0; i < kPartialSums; ++i) sum[i] = rows_of(0);
    size_t f = 0;
    for (; f + kPartialSums <= n.hidden; f += kPartialSums) {
      PETS_UNROLL for (size_t i = 0; i < kPartialSums; ++i) sum[i] = term(f + i, sum[i]);
    }
    PETS_UNROLL for (size_t i = 0; i < kPartialSums - 1; ++i) {
      if (f + i < n.hidden) sum[i] = term(f + i, sum[i]);
    }
    return add(add(sum[0], sum[1]), add(sum[2], sum[3]));
  };
  const Broadcast count = broadcast(static_cast<float>(n.hidden));
  const Rows16 mean = div(sum_of([&](size_t f, const Rows16& sum) PETS_LAMBDA { return add(sum, first_input(f)); }), count);
  if (keep_sum) {
    a = n.y;
    b = nullptr;
  }
  const Rows16 squares = sum_of([&](size_t f, const Rows16& sum) PETS_LAMBDA {
    const Rows16 d = sub(input(f), mean);
    return mul_add(d, d, sum);
  });
  const Rows16 inverse = div(rows_of(1), square_root(add(div(squares, count), broadcast(n.epsilon))));
  for (uint32_t s = 0; s < n.segment_count; ++s) {
    const NormSegment& segment = n.segments[s];
    const RowMask mask = row_mask(segment.lanes);
    for (size_t f = 0; f < n.hidden; ++f) {
      const Rows16 unit = mul(sub(input(f), mean), inverse);
      store_rows(mask, mul_add(unit, broadcast(segment.gamma[f]), broadcast(segment.beta[f])), n.y + f * kStripRows);
    }
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
