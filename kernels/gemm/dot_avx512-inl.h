// What the AVX-512 dot units (gemm/dot_tile-inl.h) have in common: all but the instruction.
#pragma once

#include "kernels/gemm/dot_masked-inl.h"
#include "kernels/gemm/dot_tile-inl.h"
#include "kernels/gemm/few_rows-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// As in fp32: 3 strips x 8 columns are 24 products with 11 loads. Of 32 registers 24 hold sums, 3 inputs, and 5 are left for a weight and
/// products. With a latency of 5 and two a cycle, 10 chains are enough.
constexpr int avx512_columns(int strips) { return strips == 1 ? 16 : 8; }

struct WordsOfRows {
  __m512i value;
  PETS_INLINE void load(const int32_t* p) { value = _mm512_load_si512(p); }
};

/// Read from the panel, where words are not aligned.
struct BroadcastWords {
  const int32_t* p;
  explicit PETS_INLINE BroadcastWords(const int32_t* words) : p(words) {}
  PETS_INLINE __m512i column(int c) const {
    int32_t word;
    __builtin_memcpy(&word, p + c, sizeof word);
    return _mm512_set1_epi32(word);
  }
};

/// dot_panel where few rows of one strip are wanted; false: it has not been done. The operands change places: a register has the words of
/// 16 columns, each row's word is broadcast.
template <class Unit>
bool few_rows_dot(const DotPanel& a) {
  if (a.strips != 1 || a.rows > kFewRows || a.width != kPanelColumns || a.bias[0] == nullptr || a.planes != nullptr) return false;
  constexpr bool kIntegers = Unit::kType == WeightType::kInt8;
  constexpr size_t kGroup = input_group(Unit::kType);
  typename Unit::Sums sums[kFewRowsSums];
  const Rows16 bias = load_unaligned(a.bias[0]);
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) {
    if constexpr (kIntegers) {
      sums[r] = bits_of(0);
    } else {
      sums[r] = bias;
    }
  }
  Bits16 column_sums = bits_of(0);
  const auto* x = static_cast<const int32_t*>(a.x);
  const auto* w = static_cast<const uint32_t*>(a.panel);
  const auto* next = static_cast<const char*>(a.prefetch != nullptr ? a.prefetch : a.panel);
  for (size_t left = (a.k + kGroup - 1) / kGroup; left != 0; --left) {
    prefetch_l1(w + kAhead * kPanelColumns);
    prefetch_l2(next);
    const Bits16 weights = load_bits_unaligned(w);
    if constexpr (Unit::kUnsigned) column_sums = Unit::column_sums(column_sums, weights);
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) {
      typename Unit::Inputs inputs;
      inputs.value = BroadcastWords(x).column(static_cast<int>(r));
      sums[r] = Unit::dot(sums[r], inputs, weights.v[0].raw);
    }
    x += kStripRows;
    w += kPanelColumns;
    next += kPanelColumns * sizeof(int32_t);
  }
  Rows16 rows[kFewRowsSums];
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) {
    if constexpr (kIntegers) {
      if constexpr (Unit::kUnsigned) sums[r] = add(sums[r], sub(bits_of(0), shift_left<7>(column_sums)));
      rows[r] = mul_add(to_floats(sums[r]), mul(load_unaligned(a.w_scale), broadcast(a.x_scale[r])), bias);
    } else {
      rows[r] = sums[r];
    }
  }
  store_transposed(rows, a.y);
  return true;
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
