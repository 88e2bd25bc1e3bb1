// attention_strip for one instruction set: see attention/attention.h.
//
// Queries sit in lanes and keys are broadcast, so neither the products nor the softmax sum across lanes, and a sequence that begins
// in mid-strip costs nothing: its first keys are simply fewer columns. A strip shared by several sequences is computed once for each.
#pragma once

#include "kernels/activation/exp-inl.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/half_strips-inl.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Calls use(strip, first lane, end lane, rows before) for the parts of rows [first_row, first_row + rows) in each strip.
template <class Use>
PETS_INLINE void each_strip(uint32_t first_row, uint32_t rows, Use use) {
  uint32_t done = 0;
  while (done < rows) {
    const uint32_t lane = (first_row + done) % kStripRows;
    const uint32_t end = lane + (rows - done) < kStripRows ? lane + (rows - done) : kStripRows;
    use((first_row + done) / kStripRows, lane, end, done);
    done += end - lane;
  }
}

/// Weighted values: kColumns features at once, rows of the sequence ascending.
template <int kColumns>
void weigh_values(const AttentionStrip& a, const AttentionSegment& segment, const float* weights, size_t first_column, const Rows16& factor,
                  const RowMask& mask) {
  Rows16 sum[kColumns];
  PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[c] = rows_of(0);
  each_strip(segment.first_row, segment.rows, [&](uint32_t strip, uint32_t lane, uint32_t end, uint32_t) PETS_LAMBDA {
    const float* v = a.v + strip * a.v_stride + first_column * kStripRows;
    // The next head's values, a line a row: as many as there are columns of this tile, where the strip is whole.
    const float* next = v + a.next;
    for (; lane < end; ++lane, next += kStripRows) {
      prefetch_l2(next);
      const Rows16 w = load(weights);
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[c] = mul_add(w, broadcast(v[c * kStripRows + lane]), sum[c]);
      weights += kStripRows;
    }
  });
  PETS_UNROLL for (int c = 0; c < kColumns; ++c) { store_rows(mask, mul(sum[c], factor), a.out + (first_column + c) * kStripRows); }
}

using WeighValuesFn = void (*)(const AttentionStrip&, const AttentionSegment&, const float*, size_t, const Rows16&, const RowMask&);
inline constexpr uint32_t kValueColumns = columns_that_fit(1);

template <int kColumns>
constexpr WeighValuesFn weigh_values_or_null() {
  if constexpr (kColumns <= static_cast<int>(kValueColumns)) {
    return weigh_values<kColumns>;
  } else {
    return nullptr;
  }
}
inline constexpr WeighValuesFn kWeighValues[kPanelColumns + 1] = {
    nullptr,
    weigh_values_or_null<1>(),
    weigh_values_or_null<2>(),
    weigh_values_or_null<3>(),
    weigh_values_or_null<4>(),
    weigh_values_or_null<5>(),
    weigh_values_or_null<6>(),
    weigh_values_or_null<7>(),
    weigh_values_or_null<8>(),
    weigh_values_or_null<9>(),
    weigh_values_or_null<10>(),
    weigh_values_or_null<11>(),
    weigh_values_or_null<12>(),
    weigh_values_or_null<13>(),
    weigh_values_or_null<14>(),
    weigh_values_or_null<15>(),
    weigh_values_or_null<16>(),
};

/// Turns scores into exp(score * scale - max), in place, and returns 1 / their sum. Asks for a line of each of the next head's queries and
/// output a row, as weigh_values does for its values and the tile for its keys: what one head takes, 10 KiB at 32 rows, comes from beyond
/// L2, in pieces too short for the CPU to see what follows.
PETS_INLINE Rows16 softmax_weights(float* scores, uint32_t rows, float scale, const float* next_q, const float* next_out) {
  const Broadcast factor = broadcast(scale);
  Rows16 top = mul(load(scores), factor);
  for (uint32_t j = 1; j < rows; ++j, next_q += kStripRows) {
    prefetch_l2(next_q);
    top = max(top, mul(load(scores + j * kStripRows), factor));
  }
  Rows16 sum = rows_of(0);
  for (uint32_t j = 0; j < rows; ++j) {
    float* score = scores + j * kStripRows;
    prefetch_l2(next_out);
    next_out += kStripRows;
    const Rows16 weight = exp_to_88(sub(mul(load(score), factor), top));
    store(weight, score);
    sum = add(sum, weight);
  }
  return div(rows_of(1), sum);
}

/// The scores of a segment's rows, not scaled, into a.scratch: [rows][16].
template <typename Value>
PETS_INLINE void attention_scores(const AttentionCall<Value>& a, const AttentionSegment& segment) {
  alignas(64) static constexpr float kZeros[kStripRows] = {};
  static constexpr const float* kNoBias[1] = {kZeros};
  each_strip(segment.first_row, segment.rows, [&](uint32_t strip, uint32_t lane, uint32_t end, uint32_t before) PETS_LAMBDA {
    Tile t;
    t.x = a.q;
    t.w = a.k + strip * a.k_stride + lane;
    t.w_stride = kStripRows;
    t.k = a.head_size;
    t.bias = kNoBias;
    t.y = a.scratch + before * kStripRows;
    t.prefetch = reinterpret_cast<const char*>(a.k + strip * a.k_stride + a.next);
    tile_panel(t, end - lane, kStripRows);
  });
}

/// Calls weigh(first column, columns) for tiles of at most kMost of a head's columns.
template <uint32_t kMost, class Weigh>
PETS_INLINE void each_value_tile(uint32_t head_size, Weigh weigh) {
  for (uint32_t column = 0; column < head_size;) {
    const uint32_t left = head_size - column;
    const uint32_t tiles = (left + kMost - 1) / kMost;
    const uint32_t columns = (left + tiles - 1) / tiles;
    weigh(column, columns);
    column += columns;
  }
}

inline void attention_strip(const AttentionStrip& a) {
  for (uint32_t i = 0; i < a.segment_count; ++i) {
    const AttentionSegment& segment = a.segments[i];
    if (segment.rows == 0) continue;
    attention_scores(a, segment);
    const Rows16 factor = softmax_weights(a.scratch, segment.rows, a.scale, a.q + a.next, a.out + a.next);
    const RowMask mask = row_mask(lane_range(segment.lane_begin, segment.lane_end));
    each_value_tile<kValueColumns>(a.head_size, [&](uint32_t column, uint32_t columns)
                                                    PETS_LAMBDA { kWeighValues[columns](a, segment, a.scratch, column, factor, mask); });
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
