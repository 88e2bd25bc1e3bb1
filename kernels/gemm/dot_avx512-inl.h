// What the AVX-512 dot units (gemm/dot_tile-inl.h) have in common: all but the instruction.
#pragma once

#include "kernels/gemm/dot_columns-inl.h"
#include "kernels/gemm/dot_masked-inl.h"
#include "kernels/gemm/dot_tile-inl.h"

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

template <class Unit>
void whole_strips_dot(const DotPanel& a) {
  if constexpr (!kMaskedByColumns<Unit>) {
    if (a.planes != nullptr) return woven_dot_panels<Unit>(a);
  }
  dot_panel_with<Unit>(a);
}

template <class Unit>
void avx512_dot_panel(const DotPanel& a) {
  if (a.planes != nullptr && (a.strips == 1 || kMaskedByColumns<Unit>)) return dot_columns_from<Unit, true>(a, 0);
  if (!takes_few_rows(a)) return whole_strips_dot<Unit>(a);
  a.planes != nullptr ? dot_columns_from<Unit, true>(a, a.strips - 1) : dot_columns_from<Unit, false>(a, a.strips - 1);
  if (a.strips == 1) return;
  DotPanel others = a;
  --others.strips;
  whole_strips_dot<Unit>(others);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
