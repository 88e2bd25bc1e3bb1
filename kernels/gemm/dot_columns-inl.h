// dot_panel with columns as lanes (gemm/column_lanes-inl.h): few rows of the last strip of a call, and strips under bit planes: one of
// int8, any number of bfloat16. (More of int8 take a masked stage, gemm/dot_masked-inl.h: 0.85 of the peak with 3 strips, here 0.80.)
//
// A unit loads what a mask keeps of a panel: load_kept(planes, input, words), where planes are those of 32 inputs, and words 16 words of
// inputs from `input` on.
#pragma once

#include "kernels/gemm/column_lanes-inl.h"
#include "kernels/gemm/dot_tile-inl.h"
#include "kernels/mask/mask.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// bfloat16's masks are applied by columns as lanes, int8's of several strips in a stage.
template <class Unit>
inline constexpr bool kMaskedByColumns = Unit::kType == WeightType::kBFloat16;

/// A panel's words, which come from beyond L1, masked ones from beyond L2: a task's rows are few, so a panel is soon done with. kFirst: it
/// is read for the first time, which is also when the sums of its columns are made.
template <class Unit, bool kMasked, bool kFirst>
struct DotColumns {
  static constexpr uint32_t kGroup = input_group(Unit::kType);
  static constexpr size_t kBlock = 32 / kGroup;  // what one word of the planes is for

  const uint32_t* words = nullptr;
  size_t width = 0;
  const uint32_t* planes = nullptr;           ///< kMasked only
  ptrdiff_t to_next = 0, planes_to_next = 0;  ///< kMasked and kFirst only: words from here to what is read next
  const char* next_panel = nullptr;           ///< kFirst without planes only
  Bits16 keep{};
  uint32_t input = 0;
  Bits16 column_sums = bits_of(0);  ///< kUnsigned only

  PETS_INLINE void block() {
    if constexpr (kMasked) {
      keep = load_bits(planes);
      if constexpr (kFirst) prefetch_l2(planes + planes_to_next);
      planes += kPanelColumns;
      input = 0;
    }
  }
  PETS_INLINE Bits16 next() {
    prefetch_l1(words + kAhead * width);
    if constexpr (kFirst) {
      if constexpr (kMasked) {
        prefetch_l2(words + to_next);
      } else {
        prefetch_l2(next_panel);
        next_panel += width * sizeof(uint32_t);
      }
    }
    Bits16 columns;
    if constexpr (kMasked) {
      columns = Unit::load_kept(keep, input, words);
      input += kGroup;
    } else {
      columns = load_bits_unaligned(words);
    }
    words += width;
    if constexpr (Unit::kUnsigned && kFirst) column_sums = Unit::column_sums(column_sums, columns);
    return columns;
  }
};

/// kHalves times 8 rows from half `first` on times kPanels panels from `panel` on, all whole or one. corrections: what their columns' sums
/// are short of where inputs are unsigned; made where kFirst.
template <class Unit, bool kMasked, bool kFirst, int kHalves, int kPanels>
PETS_INLINE void dot_columns_tile(const DotPanel& a, uint32_t first, uint32_t panel, Bits16 (&corrections)[kMostColumnPanels]) {
  constexpr bool kIntegers = Unit::kType == WeightType::kInt8;
  using Weights = DotColumns<Unit, kMasked, kFirst>;
  const size_t groups = (a.k + Weights::kGroup - 1) / Weights::kGroup;
  const uint32_t width = kPanels == 1 ? panel_width(a.width, panel) : kPanelColumns;
  // What is read next: with planes, after the last panels, the first ones, by the next task; without them the call's next panel.
  const ptrdiff_t panels_to_next = (panel + kPanels) * kPanelColumns < a.width ? kPanels : -static_cast<ptrdiff_t>(panel);
  const int32_t* x[kHalves];
  Weights weights[kPanels];
  typename Unit::Sums sums[kPanels][kHalves][kHalfRows];
  const auto column_of = [&](int p) PETS_LAMBDA { return (panel + static_cast<uint32_t>(p)) * kPanelColumns; };
  const auto y_of = [&](int h, int p) PETS_LAMBDA {
    const uint32_t half = first + static_cast<uint32_t>(h);
    return a.y + half / 2 * a.y_stride + column_of(p) * kStripRows + half % 2 * kHalfRows;
  };
  const auto start = [&](int h, int p, Rows16(&rows)[kHalfRows]) PETS_LAMBDA {
    const float* bias = a.bias[(first + static_cast<uint32_t>(h)) / 2];
    start_columns(bias != nullptr ? bias + column_of(p) : nullptr, y_of(h, p), width, rows);
  };
  PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
    const uint32_t half = first + static_cast<uint32_t>(h);
    x[h] = reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + half / 2 * a.x_stride) + half % 2 * kHalfRows;
  }
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    const size_t at = panel + static_cast<uint32_t>(p);
    weights[p].words = static_cast<const uint32_t*>(a.panel) + at * groups * kPanelColumns;
    weights[p].width = width;
    if constexpr (kMasked) {
      weights[p].planes = a.planes + at * bit_plane_words(a.k);
      weights[p].to_next = panels_to_next * static_cast<ptrdiff_t>(groups * kPanelColumns);
      weights[p].planes_to_next = panels_to_next * static_cast<ptrdiff_t>(bit_plane_words(a.k));
    } else if constexpr (kFirst) {
      weights[p].next_panel =
          static_cast<const char*>(a.prefetch != nullptr ? a.prefetch : a.panel) + p * groups * kPanelColumns * sizeof(uint32_t);
    }
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
      if constexpr (kIntegers) {
        PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) sums[p][h][r] = bits_of(0);
      } else {
        start(h, p, sums[p][h]);
      }
    }
  }
  column_lanes<Unit>(x, groups, weights, sums);
  const uint32_t last = (a.strips - 1) * 2 + (a.rows - 1) / kHalfRows;
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    if constexpr (Unit::kUnsigned && kFirst) corrections[p] = sub(bits_of(0), shift_left<7>(weights[p].column_sums));
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
      const uint32_t half = first + static_cast<uint32_t>(h);
      const bool zeros_behind = half == last && half % 2 == 0;
      if constexpr (kIntegers) {
        Rows16 rows[kHalfRows];
        start(h, p, rows);
        const Rows16 w_scale = load_columns(a.w_scale + column_of(p), width);
        const float* x_scale = a.x_scale + half * kHalfRows;
        PETS_UNROLL for (int r = 0; r < kHalfRows; ++r) {
          Bits16 sum = sums[p][h][r];
          if constexpr (Unit::kUnsigned) sum = add(sum, corrections[p]);
          rows[r] = mul_add(to_floats(sum), mul(w_scale, broadcast(x_scale[r])), rows[r]);
        }
        store_columns(rows, width, zeros_behind, y_of(h, p));
      } else {
        store_columns(sums[p][h], width, zeros_behind, y_of(h, p));
      }
    }
  }
}

PETS_INLINE bool takes_few_rows(const DotPanel& a) { return a.rows <= kFewRows && a.strips != 0; }

/// Rows from strip `first` on; a.width counts the columns of all panels.
template <class Unit, bool kMasked>
void dot_columns_from(DotPanel a, uint32_t first) {
  a.x = static_cast<const char*>(a.x) + first * a.x_stride;
  a.y += first * a.y_stride;
  a.bias += first;
  if (a.x_scale) a.x_scale += first * kStripRows;
  a.strips -= first;
  const uint32_t halves = (a.strips - 1) * 2 + (a.rows + kHalfRows - 1) / kHalfRows;
  Bits16 corrections[kMostColumnPanels];
  each_column_tile(halves, static_cast<uint32_t>(panel_count(a.width)), a.width / kPanelColumns,
                   [&](auto rows, uint32_t half, auto panels, uint32_t panel) PETS_LAMBDA {
                     constexpr int kHalves = decltype(rows)::kCount, kPanels = decltype(panels)::kCount;
                     if (half == 0) {
                       dot_columns_tile<Unit, kMasked, true, kHalves, kPanels>(a, half, panel, corrections);
                     } else {
                       dot_columns_tile<Unit, kMasked, false, kHalves, kPanels>(a, half, panel, corrections);
                     }
                   });
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
