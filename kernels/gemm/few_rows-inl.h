// Panels for a strip, the last of its call, of which few rows are wanted, for instruction sets whose registers hold a whole strip
// (AVX-512): lanes are columns.
//
// With rows as lanes one strip costs the same whether it has one row or 16. Here a register holds the 16 weights of one input, and each row
// has its input broadcast from the strip: 8 multiply-adds and 9 loads an input where the other way has 16 and 17. The chains are the same,
// so are the bits. What that leaves is the time in which the weights come from memory.
#pragma once

#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline constexpr uint32_t kFewRows = kVectors == 1 ? 8 : 0;  ///< at most; 0: none
inline constexpr uint32_t kFewRowsSums = 8;

#if defined(HWY_TARGET) && HWY_TARGET == HWY_AVX3
/// quads[j][4 * b + r] = rows[r][4 * b + j]: the values of one column side by side.
PETS_INLINE void transpose_quads(const Rows16* rows, float (&quads)[4][kStripRows]) {
  const hn::RepartitionToWide<FloatTag> pairs;
  const auto lower = hn::BitCast(pairs, hn::InterleaveLower(FloatTag(), rows[0].v[0], rows[1].v[0]));
  const auto upper = hn::BitCast(pairs, hn::InterleaveUpper(FloatTag(), rows[0].v[0], rows[1].v[0]));
  const auto lower2 = hn::BitCast(pairs, hn::InterleaveLower(FloatTag(), rows[2].v[0], rows[3].v[0]));
  const auto upper2 = hn::BitCast(pairs, hn::InterleaveUpper(FloatTag(), rows[2].v[0], rows[3].v[0]));
  hn::Store(hn::BitCast(FloatTag(), hn::InterleaveLower(pairs, lower, lower2)), FloatTag(), quads[0]);
  hn::Store(hn::BitCast(FloatTag(), hn::InterleaveUpper(pairs, lower, lower2)), FloatTag(), quads[1]);
  hn::Store(hn::BitCast(FloatTag(), hn::InterleaveLower(pairs, upper, upper2)), FloatTag(), quads[2]);
  hn::Store(hn::BitCast(FloatTag(), hn::InterleaveUpper(pairs, upper, upper2)), FloatTag(), quads[3]);
}
#else  // where kFewRows is 0
void transpose_quads(const Rows16* rows, float (&quads)[4][kStripRows]);
#endif

/// y[c][row] = sums[row][c]; rows from kFewRowsSums on become zeros, which no later operator makes NaN or lets decay to subnormals.
template <uint32_t kRows = kFewRowsSums>
PETS_INLINE void store_transposed(const Rows16 (&sums)[kRows], float* y) {
  static_assert(kRows == 8);
  alignas(64) float first[4][kStripRows], second[4][kStripRows];
  transpose_quads(sums, first);
  transpose_quads(sums + 4, second);
  for (uint32_t c = 0; c < kStripRows; ++c, y += kStripRows) {
    __builtin_memcpy(y, &first[c % 4][c / 4 * 4], 4 * sizeof(float));
    __builtin_memcpy(y + 4, &second[c % 4][c / 4 * 4], 4 * sizeof(float));
    __builtin_memset(y + 8, 0, 8 * sizeof(float));
  }
}

/// What is asked for with each input: the next panel, `bytes` of it an input; or nothing.
struct AskIfNext {
  const char* line;
  size_t bytes;
  PETS_INLINE void step() {
    if (line == nullptr) return;
    prefetch_l2(line);
    line += bytes;
  }
};

/// Goes on with the sums of one strip's first rows. weights(k): the 16 weights of input k. `side`: as a tile's (gemm/tile-inl.h).
template <class Weights, class SideWork>
PETS_INLINE void few_rows_steps(const float* x, size_t inputs, const Weights& weights, SideWork& side_work, Rows16 (&sums)[kFewRowsSums]) {
  SideWork side = side_work;  // in registers
  for (size_t k = 0; k < inputs; ++k, x += kStripRows) {
    side.step();
    const Rows16 weight = weights(k);
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = mul_add(weight, broadcast(x[r]), sums[r]);
  }
  side_work = side;
}

/// A whole panel.
template <class Weights>
PETS_INLINE void few_rows_panel(const float* x, size_t inputs, const float* bias, const char* next, size_t next_step,
                                const Weights& weights, float* y) {
  Rows16 sums[kFewRowsSums];
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = load_unaligned(bias);
  AskIfNext ask{next, next_step};
  few_rows_steps(x, inputs, weights, ask, sums);
  store_transposed(sums, y);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
