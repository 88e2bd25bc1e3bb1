// dot_panel with columns as lanes (gemm/column_lanes-inl.h): few rows of the last strip of a call, and one strip under bit planes. (More of
// them take a masked stage, gemm/dot_masked-inl.h: int8 0.84 of the peak with 3 strips, here 0.75; bfloat16 0.93 and 0.90.)
#pragma once

#include "kernels/gemm/column_lanes-inl.h"
#include "kernels/gemm/dot_tile-inl.h"
#include "kernels/mask/mask.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// A panel's words, which come from beyond L1, masked ones from beyond L2: a task's rows are few, so a panel is soon done with.
template <class Unit, bool kMasked>
struct DotColumns {
  static constexpr uint32_t kGroup = input_group(Unit::kType);
  static constexpr size_t kBlock = 32 / kGroup;  // what one word of the planes is for
  static constexpr size_t kFarSteps = 192;

  const uint32_t* words;
  size_t width;
  const uint32_t* planes;  ///< kMasked only
  const char* next_panel;  ///< without planes only
  Bits16 keep{};
  uint32_t input = 0;
  Bits16 column_sums = bits_of(0);  ///< kUnsigned only

  PETS_INLINE void block() {
    if constexpr (kMasked) {
      keep = load_bits(planes);
      planes += kPanelColumns;
      prefetch_l2(planes + 8 * kPanelColumns);
      input = 0;
    }
  }
  PETS_INLINE Bits16 next() {
    prefetch_l1(words + kAhead * width);
    if constexpr (kMasked) {
      prefetch_l2(words + kFarSteps * width);
    } else {
      prefetch_l2(next_panel);
      next_panel += width * sizeof(uint32_t);
    }
    Bits16 columns = load_bits_unaligned(words);
    words += width;
    if constexpr (kMasked) {
      columns = keep_inputs<static_cast<int>(kGroup)>(keep, input, columns);
      input += kGroup;
    }
    if constexpr (Unit::kUnsigned) column_sums = Unit::column_sums(column_sums, columns);
    return columns;
  }
};

/// kHalves times 8 rows from half `first` on times one panel, its columns those from `column` on.
template <class Unit, int kHalves, class Weights>
PETS_INLINE void dot_columns_tile(const DotPanel& a, uint32_t first, uint32_t column, uint32_t width, Weights weights) {
  constexpr bool kIntegers = Unit::kType == WeightType::kInt8;
  const int32_t* x[kHalves];
  typename Unit::Sums sums[kHalves][kHalfRows];
  const auto y_of = [&](int h) PETS_LAMBDA {
    const uint32_t half = first + static_cast<uint32_t>(h);
    return a.y + half / 2 * a.y_stride + column * kStripRows + half % 2 * kHalfRows;
  };
  const auto start = [&](int h, Rows16(&rows)[kHalfRows]) PETS_LAMBDA {
    const float* bias = a.bias[(first + static_cast<uint32_t>(h)) / 2];
    start_columns(bias != nullptr ? bias + column : nullptr, y_of(h), width, rows);
  };
  PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
    const uint32_t half = first + static_cast<uint32_t>(h);
    x[h] = reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + half / 2 * a.x_stride) + half % 2 * kHalfRows;
    if constexpr (kIntegers) {
      PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) sums[h][r] = bits_of(0);
    } else {
      start(h, sums[h]);
    }
  }
  column_lanes<Unit>(x, (a.k + Weights::kGroup - 1) / Weights::kGroup, weights, sums);
  const uint32_t last = (a.strips - 1) * 2 + (a.rows - 1) / kHalfRows;
  PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
    const uint32_t half = first + static_cast<uint32_t>(h);
    const bool zeros_behind = half == last && half % 2 == 0;
    if constexpr (kIntegers) {
      Rows16 rows[kHalfRows];
      start(h, rows);
      const Rows16 w_scale = load_columns(a.w_scale + column, width);
      const float* x_scale = a.x_scale + half * kHalfRows;
      PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) {
        Bits16 sum = sums[h][r];
        if constexpr (Unit::kUnsigned) sum = add(sum, sub(bits_of(0), shift_left<7>(weights.column_sums)));
        rows[r] = mul_add(to_floats(sum), mul(w_scale, broadcast(x_scale[r])), rows[r]);
      }
      store_columns(rows, width, zeros_behind, y_of(h));
    } else {
      store_columns(sums[h], width, zeros_behind, y_of(h));
    }
  }
}

PETS_INLINE bool takes_few_rows(const DotPanel& a) { return a.rows <= kFewRows && a.strips != 0; }

/// The last strip, a.rows rows of it; a.width counts the columns of all panels.
template <class Unit>
void last_strip_dot(const DotPanel& a) {
  constexpr size_t kGroup = input_group(Unit::kType);
  const size_t groups = (a.k + kGroup - 1) / kGroup;
  const uint32_t first = (a.strips - 1) * 2;
  for (size_t p = 0; p < panel_count(a.width); ++p) {
    const uint32_t width = panel_width(a.width, p), column = static_cast<uint32_t>(p) * kPanelColumns;
    const auto* const panel = static_cast<const uint32_t*>(a.panel) + p * groups * kPanelColumns;
    if (a.planes == nullptr) {
      const auto* const next = static_cast<const char*>(a.prefetch != nullptr ? a.prefetch : a.panel);
      dot_columns_tile<Unit, 1>(a, first, column, width, DotColumns<Unit, false>{panel, width, nullptr, next});
      continue;
    }
    const DotColumns<Unit, true> weights{panel, width, a.planes + p * bit_plane_words(a.k), nullptr};
    if (a.rows <= kHalfRows) {
      dot_columns_tile<Unit, 1>(a, first, column, width, weights);
    } else {
      dot_columns_tile<Unit, 2>(a, first, column, width, weights);
    }
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
