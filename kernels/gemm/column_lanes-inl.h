// Tiles whose lanes are columns: 8, 16 or 24 rows times the 16 columns of a panel, for instruction sets whose registers hold that many
// floats (AVX-512).
//
// Where rows are lanes (gemm/tile-inl.h), a strip costs the same whether it has one row or 16, and what is done to weights, a mask, has to
// be stored before they can be broadcast. Here a register holds the 16 weights of one input, and each row has its input broadcast from the
// strip: half of a strip costs half, and a mask two operations in registers. Three panels share a broadcast: 8 rows are 24 multiply-adds
// with 11 loads. One panel's 24 rows are as many with 25, which is 0.04 short of it. The chains are the same, so are the bits.
//
// A unit multiplies: dot_columns(sums, word, columns), where word is one row's (a float; dot units: gemm/dot_tile-inl.h) and columns what
// the weights' next() returns. Weights read a panel, input by input: block() is called before the first one and every kBlock of them.
#pragma once

#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline constexpr bool kColumnLanes = kVectors == 1;
inline constexpr int kHalfRows = 8;
/// Rows of a last strip, at most, that are computed alone; 0: none.
inline constexpr uint32_t kFewRows = kColumnLanes ? kHalfRows : 0;
/// Panels of one tile, at most.
inline constexpr int kMostColumnPanels = 3;

/// Goes on with the sums of kHalves times 8 rows times kPanels neighbouring panels. x: the rows' words of the first input; those of the
/// next one lie 16 words further on.
template <class Unit, int kHalves, int kPanels, class Word, class Weights>
PETS_INLINE void column_lanes(const Word* const (&x)[kHalves], size_t steps, Weights (&kept_weights)[kPanels],
                              typename Unit::Sums (&kept_sums)[kPanels][kHalves][kHalfRows]) {
  // In registers.
  Weights weights[kPanels];
  typename Unit::Sums sums[kPanels][kHalves][kHalfRows];
  const Word* rows[kHalves];
  PETS_UNROLL for (int h = 0; h < kHalves; ++h) rows[h] = x[h];
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    weights[p] = kept_weights[p];
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) { PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) sums[p][h][r] = kept_sums[p][h][r]; }
  }
  for (size_t left = steps; left != 0;) {
    PETS_UNROLL for (int p = 0; p < kPanels; ++p) weights[p].block();
    const size_t block = left < Weights::kBlock ? left : Weights::kBlock;
    left -= block;
    for (size_t i = block; i != 0; --i) {
      decltype(weights[0].next()) columns[kPanels];
      PETS_UNROLL for (int p = 0; p < kPanels; ++p) columns[p] = weights[p].next();
      PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
        PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) {
          const Word word = rows[h][r];
          PETS_UNROLL for (int p = 0; p < kPanels; ++p) sums[p][h][r] = Unit::dot_columns(sums[p][h][r], word, columns[p]);
        }
        rows[h] += kStripRows;
      }
    }
  }
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) { PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) kept_sums[p][h][r] = sums[p][h][r]; }
    kept_weights[p] = weights[p];
  }
}

struct FloatColumns {
  using Sums = Rows16;
  static PETS_INLINE Rows16 dot_columns(const Rows16& sums, float input, const Rows16& weights) {
    return mul_add(weights, broadcast(input), sums);
  }
};

/// Up to 16 values of so many columns; zeros behind them.
PETS_INLINE Rows16 load_columns(const float* values, uint32_t width) {
  if (width == kStripRows) return load_unaligned(values);
  alignas(64) float all[kStripRows] = {};
  for (uint32_t c = 0; c < width; ++c) all[c] = values[c];
  return load(all);
}
/// The starts of a narrow panel, or of chains that go on. Not inlined, nor is store_narrow: tiles are many.
__attribute__((noinline)) inline void start_narrow(const float* bias, const float* y, uint32_t width, Rows16 (&start)[kHalfRows]) {
  if (bias != nullptr) {
    const Rows16 columns = load_columns(bias, width);
    PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) start[r] = columns;
    return;
  }
  alignas(64) float rows[kHalfRows][kStripRows] = {};
  for (uint32_t c = 0; c < width; ++c) {
    for (int r = 0; r < kHalfRows; ++r) rows[r][c] = y[c * kStripRows + static_cast<uint32_t>(r)];
  }
  PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) start[r] = load(rows[r]);
}
/// What the chains of 8 rows start from: bias, [width], or where it is null y, [width][16 rows].
PETS_INLINE void start_columns(const float* bias, const float* y, uint32_t width, Rows16 (&start)[kHalfRows]) {
  if (bias == nullptr || width != kStripRows) return start_narrow(bias, y, width, start);
  const Rows16 columns = load_unaligned(bias);
  PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) start[r] = columns;
}

/// y[c * stride + r] = sums[r][c]; y and stride are multiples of 8 floats.
PETS_INLINE void turn_columns(const Rows16 (&sums)[kHalfRows], float* y, size_t stride) {
#if defined(HWY_TARGET) && HWY_TARGET == HWY_AVX3
  // Of four rows, four columns of each block of 128 bits side by side; twice; then pairs of blocks.
  __m512d quads[2][4];
  PETS_UNROLL for (int four = 0; four < 2; ++four) {
    const auto raw = [&sums, four](int r) PETS_LAMBDA { return sums[4 * four + r].v[0].raw; };
    const __m512d low = _mm512_castps_pd(_mm512_unpacklo_ps(raw(0), raw(1))), high = _mm512_castps_pd(_mm512_unpackhi_ps(raw(0), raw(1)));
    const __m512d low2 = _mm512_castps_pd(_mm512_unpacklo_ps(raw(2), raw(3))), high2 = _mm512_castps_pd(_mm512_unpackhi_ps(raw(2), raw(3)));
    quads[four][0] = _mm512_unpacklo_pd(low, low2);
    quads[four][1] = _mm512_unpackhi_pd(low, low2);
    quads[four][2] = _mm512_unpacklo_pd(high, high2);
    quads[four][3] = _mm512_unpackhi_pd(high, high2);
  }
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  PETS_UNROLL for (int j = 0; j < 4; ++j) {
    const __m512d here = _mm512_permutex2var_pd(quads[0][j], first, quads[1][j]);
    const __m512d there = _mm512_permutex2var_pd(quads[0][j], second, quads[1][j]);
    _mm256_store_pd(reinterpret_cast<double*>(y + static_cast<size_t>(j) * stride), _mm512_castpd512_pd256(here));
    _mm256_store_pd(reinterpret_cast<double*>(y + static_cast<size_t>(4 + j) * stride), _mm512_extractf64x4_pd(here, 1));
    _mm256_store_pd(reinterpret_cast<double*>(y + static_cast<size_t>(8 + j) * stride), _mm512_castpd512_pd256(there));
    _mm256_store_pd(reinterpret_cast<double*>(y + static_cast<size_t>(12 + j) * stride), _mm512_extractf64x4_pd(there, 1));
  }
#else
  alignas(64) float rows[kHalfRows][kStripRows];
  for (int r = 0; r < kHalfRows; ++r) store(sums[r], rows[r]);
  for (uint32_t c = 0; c < kStripRows; ++c) {
    for (int r = 0; r < kHalfRows; ++r) y[c * stride + static_cast<size_t>(r)] = rows[r][c];
  }
#endif
}
__attribute__((noinline)) inline void store_narrow(const Rows16 (&sums)[kHalfRows], uint32_t width, bool last, float* y) {
  alignas(64) float columns[kStripRows * kHalfRows];
  turn_columns(sums, columns, kHalfRows);
  for (uint32_t c = 0; c < width; ++c) __builtin_memcpy(y + c * kStripRows, columns + c * kHalfRows, kHalfRows * sizeof(float));
  if (last) {
    for (uint32_t c = 0; c < width; ++c) __builtin_memset(y + c * kStripRows + kHalfRows, 0, kHalfRows * sizeof(float));
  }
}
/// y[c][row] = sums[row][c] of 8 rows. `last`: the strip's rows behind them become zeros, which no later operator makes NaN or lets decay
/// to subnormals.
PETS_INLINE void store_columns(const Rows16 (&sums)[kHalfRows], uint32_t width, bool last, float* y) {
  if (last || width != kStripRows) return store_narrow(sums, width, last, y);
  turn_columns(sums, y, kStripRows);
}

/// Calls tile(Count<halves>, first half, Count<panels>, first panel) for so many halves of strips and panels, of which the first
/// `whole_panels` have all their columns; each panel's halves in order.
/// Three whole panels take one half at a time: 11 loads for 24 multiply-adds. A panel alone takes three halves, 25 loads for as many, or
/// two where one would be left alone.
template <class Tile>
PETS_INLINE void each_column_tile(uint32_t halves, uint32_t panels, uint32_t whole_panels, const Tile& tile) {
  uint32_t panel = 0;
  for (; whole_panels - panel >= kMostColumnPanels; panel += kMostColumnPanels) {
    for (uint32_t half = 0; half < halves; ++half) tile(Count<1>(), half, Count<kMostColumnPanels>(), panel);
  }
  if (whole_panels - panel == 2) {
    for (uint32_t half = 0; half < halves; ++half) tile(Count<1>(), half, Count<2>(), panel);
    panel += 2;
  }
  for (; panel < panels; ++panel) {
    for (uint32_t half = 0; half < halves;) {
      const uint32_t left = halves - half;
      if (left == 3 || left > 4) {
        tile(Count<3>(), half, Count<1>(), panel);
        half += 3;
      } else if (left != 1) {
        tile(Count<2>(), half, Count<1>(), panel);
        half += 2;
      } else {
        tile(Count<1>(), half, Count<1>(), panel);
        half += 1;
      }
    }
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
