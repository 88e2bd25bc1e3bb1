// Panels for a strip of which few rows are wanted, for instruction sets whose registers hold a whole strip (AVX-512): lanes are columns.
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

/// y[c][row] = sums[row][c]; rows from kFewRowsSums on become zeros, which no later operator makes NaN or lets decay to subnormals.
PETS_INLINE void store_transposed(const Rows16 (&sums)[kFewRowsSums], float* y) {
  alignas(64) float rows[kFewRowsSums][kStripRows];
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) store(sums[r], rows[r]);
  for (uint32_t c = 0; c < kStripRows; ++c) {
    for (uint32_t r = 0; r < kFewRowsSums; ++r) y[c * kStripRows + r] = rows[r][c];
    for (uint32_t r = kFewRowsSums; r < kStripRows; ++r) y[c * kStripRows + r] = 0;
  }
}

/// weights(k): the 16 weights of input k, later ones asked for ahead. next: the next panel, `next_step` bytes of it asked for with each
/// input; or null.
template <class Weights>
PETS_INLINE void few_rows_panel(const float* x, size_t inputs, const float* bias, const char* next, size_t next_step,
                                const Weights& weights, float* y) {
  Rows16 sums[kFewRowsSums];
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = load_unaligned(bias);
  for (size_t k = 0; k < inputs; ++k, x += kStripRows) {
    if (next != nullptr) {
      prefetch_l2(next);
      next += next_step;
    }
    const Rows16 weight = weights(k);
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = mul_add(weight, broadcast(x[r]), sums[r]);
  }
  store_transposed(sums, y);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
