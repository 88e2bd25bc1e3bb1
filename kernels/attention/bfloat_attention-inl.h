// Attention with bfloat16 values over one dot unit (gemm/dot_tile-inl.h): see attention/attention.h.
//
// A unit has besides
//   store_bfloats(rows, out)                16 values, rounded
//   join(first, from, second, count, out)   16 values: first[from, 16), then second[0, from); those from `count` on are zeros
#pragma once

#include "kernels/attention/attention-inl.h"
#include "kernels/gemm/dot_tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

template <class Unit>
void round_values(const float* x, size_t features, uint16_t* out) {
  for (size_t f = 0; f < features; ++f) Unit::store_bfloats(load(x + f * kStripRows), out + f * kStripRows);
}

/// Strips of values, [head_size][16] each, and which of their rows are the sequence's.
struct ValueStrips {
  const uint16_t* v;
  size_t stride;
  uint32_t first_row, rows;
};

/// Values of rows that are paired as the sequence counts them. Where it begins and ends at even rows, those are the words that its strips
/// have; elsewhere its strips are made anew, as they would be if it began at one, with a zero behind an odd number of rows.
template <class Unit>
PETS_INLINE ValueStrips paired_values(const BfloatAttentionStrip& a, const AttentionSegment& segment, uint16_t* own) {
  if (segment.first_row % 2 == 0 && segment.rows % 2 == 0) return {a.v, a.v_stride, segment.first_row, segment.rows};
  const size_t stride = static_cast<size_t>(a.head_size) * kStripRows;
  const uint32_t from = segment.first_row % kStripRows;
  const uint16_t* v = a.v + segment.first_row / kStripRows * a.v_stride;
  for (uint32_t done = 0; done < segment.rows; done += kStripRows, v += a.v_stride) {
    const uint32_t count = segment.rows - done < kStripRows ? segment.rows - done : kStripRows;
    uint16_t* const out = own + done / kStripRows * stride;
    for (size_t at = 0; at < stride; at += kStripRows) {
      prefetch_l2(v + a.next + at);
      Unit::join(v + at, from, v + a.v_stride + at, count, out + at);
    }
  }
  return {own, stride, 0, segment.rows};
}

template <class Unit, int kColumns>
void weigh_bfloat_values(const BfloatAttentionStrip& a, const ValueStrips& values, const int32_t* weights, size_t first_column,
                         const Rows16& factor, const RowMask& mask) {
  constexpr size_t kPairs = kStripRows / 2;
  Rows16 sum[kColumns];
  PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[c] = rows_of(0);
  each_strip(values.first_row, values.rows, [&](uint32_t strip, uint32_t lane, uint32_t end, uint32_t) PETS_LAMBDA {
    const uint16_t* const v = values.v + strip * values.stride + first_column * kStripRows;
    const auto* words = reinterpret_cast<const int32_t*>(v) + lane / 2;
    const uint16_t* next = v + a.next;  // a line a pair: as many as there are of 16 columns
    for (uint32_t pair = lane / 2; pair < (end + 1) / 2; ++pair, ++words, next += 2 * kStripRows) {
      prefetch_l2(next);
      typename Unit::Inputs inputs;
      inputs.load(weights);
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
        sum[c] = Unit::dot(sum[c], inputs, typename Unit::template Weights<1>(words + c * kPairs).column(0));
      }
      weights += kStripRows;
    }
  });
  PETS_UNROLL for (int c = 0; c < kColumns; ++c) store_rows(mask, mul(sum[c], factor), a.out + (first_column + c) * kStripRows);
}

template <class Unit>
using WeighBfloatValuesFn = void (*)(const BfloatAttentionStrip&, const ValueStrips&, const int32_t*, size_t, const Rows16&,
                                     const RowMask&);
template <class Unit>
inline constexpr WeighBfloatValuesFn<Unit> kWeighBfloatValues[kPanelColumns] = {
    weigh_bfloat_values<Unit, 1>,  weigh_bfloat_values<Unit, 2>,  weigh_bfloat_values<Unit, 3>,  weigh_bfloat_values<Unit, 4>,
    weigh_bfloat_values<Unit, 5>,  weigh_bfloat_values<Unit, 6>,  weigh_bfloat_values<Unit, 7>,  weigh_bfloat_values<Unit, 8>,
    weigh_bfloat_values<Unit, 9>,  weigh_bfloat_values<Unit, 10>, weigh_bfloat_values<Unit, 11>, weigh_bfloat_values<Unit, 12>,
    weigh_bfloat_values<Unit, 13>, weigh_bfloat_values<Unit, 14>, weigh_bfloat_values<Unit, 15>, weigh_bfloat_values<Unit, 16>,
};

/// Turns scores into words of two neighbours' exp((score - max) * scale), at `weights`, which may be `scores`; returns 1 / their sum. The
/// exponential is within 1e-6, beside roundings of 2e-3. Asks for lines as softmax_weights does.
template <class Unit>
PETS_INLINE Rows16 bfloat_softmax_weights(const float* scores, uint32_t rows, float scale, int32_t* weights, const float* next_q,
                                          const float* next_out) {
  const Broadcast factor = broadcast(scale * 1.44269504F);
  Rows16 top = load(scores);
  for (uint32_t j = 1; j < rows; ++j, next_q += kStripRows) {
    prefetch_l2(next_q);
    top = max(top, load(scores + j * kStripRows));
  }
  const auto weight = [&](uint32_t j) PETS_LAMBDA {
    prefetch_l2(next_out);
    next_out += kStripRows;
    return exp2_short(at_least(mul(sub(load(scores + j * kStripRows), top), factor), -126));
  };
  static constexpr int32_t kOnes = 0x3F803F80;
  Rows16 sum = rows_of(0);
  for (uint32_t j = 0; j < rows; j += 2, weights += kStripRows) {
    const Rows16 even = weight(j);
    const Rows16 odd = j + 1 < rows ? weight(j + 1) : rows_of(0);
    store_bits(bfloat_word<Unit>(even, odd), weights);
    typename Unit::Inputs words;
    words.load(weights);
    sum = Unit::dot(sum, words, typename Unit::template Weights<1>(&kOnes).column(0));
  }
  return div(rows_of(1), sum);
}

template <class Unit>
void bfloat_attention_strip(const BfloatAttentionStrip& a) {
  for (uint32_t i = 0; i < a.segment_count; ++i) {
    const AttentionSegment& segment = a.segments[i];
    if (segment.rows == 0) continue;
    attention_scores(a, segment);
    auto* const weights = reinterpret_cast<int32_t*>(a.scratch);  // each word where its first score was
    auto* const own = reinterpret_cast<uint16_t*>(a.scratch + attention_scratch_floats(segment.rows));
    const Rows16 factor = bfloat_softmax_weights<Unit>(a.scratch, segment.rows, a.scale, weights, a.q + a.next, a.out + a.next);
    const ValueStrips values = paired_values<Unit>(a, segment, own);
    const RowMask mask = row_mask(lane_range(segment.lane_begin, segment.lane_end));
    each_value_tile<kPanelColumns>(a.head_size, [&](uint32_t column, uint32_t columns) PETS_LAMBDA {
      kWeighBfloatValues<Unit>[columns - 1](a, values, weights, column, factor, mask);
    });
  }
}

template <class Unit>
inline constexpr BfloatAttention kBfloatAttention = {round_values<Unit>, bfloat_attention_strip<Unit>};

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
