// Ragged multi-head attention on strips, without padding.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// The rows of one sequence inside one strip of queries.
struct AttentionSegment {
  uint32_t lane_begin = 0;  ///< lanes [lane_begin, lane_end) of the query strip belong to this sequence
  uint32_t lane_end = 0;
  uint32_t first_row = 0;  ///< the sequence's first row in the packed batch; row r is lane r % 16 of strip r / 16
  uint32_t rows = 0;       ///< its length: every query row sees keys first_row .. first_row + rows - 1
};

/// One head of the query rows of one strip:
///   score[j] = (sum over d of q[d] * k_j[d]) * scale;  p = exp(score - max) / sum of exps;  out[d] = sum over j of p[j] * v_j[d]
/// with j ascending in every sum. Sequences are independent; the result for a row does not depend on its lane.
/// q: the strip's [head_size][16] part. k, v: the head's part of strip 0; strip s at k + s * k_stride, v + s * v_stride.
/// out: [head_size][16], rows in no segment keep their bits. All 64-byte aligned, strips of v too.
template <typename Value>
struct AttentionCall {
  const float* q = nullptr;
  const float* k = nullptr;
  const Value* v = nullptr;
  size_t k_stride = 0, v_stride = 0;  ///< values
  uint32_t head_size = 0;             ///< 1..256
  float scale = 0;                    ///< 1 / sqrt(head_size)
  const AttentionSegment* segments = nullptr;
  uint32_t segment_count = 0;
  float* out = nullptr;
  float* scratch = nullptr;
  size_t next = 0;  ///< values from this head's queries, keys, values and output to those of the next call, which are asked for; 0: none
};
/// scratch: attention_scratch_floats(longest rows) floats.
using AttentionStrip = AttentionCall<float>;
using AttentionStripFn = void (*)(const AttentionStrip&);

/// Floats of scratch for sequences of up to `rows` rows.
constexpr size_t attention_scratch_floats(size_t rows) { return (rows + kStripRows) * kStripRows; }

/// The same with values in bfloat16, where an instruction set has dot products for them: v and exp(score - max) are rounded (to nearest
/// even, subnormals to zero), their products are summed in float32, two neighbours of the sequence at a time, and so are the rounded
/// exps, so that weights still sum to 1. Scores stay float32: their errors would grow with them. scratch: bfloat_attention_scratch_floats.
using BfloatAttentionStrip = AttentionCall<uint16_t>;
struct BfloatAttention {
  /// Rounds values of a strip, [features][16].
  void (*round_values)(const float* x, size_t features, uint16_t* out);
  void (*strip)(const BfloatAttentionStrip&);
};

constexpr size_t bfloat_attention_scratch_floats(size_t rows, size_t head_size) {
  return attention_scratch_floats(rows) + (rows + kStripRows - 1) / kStripRows * head_size * (kStripRows / 2);
}

}  // namespace pets::kernels
