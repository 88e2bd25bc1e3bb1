// linear_panel and linear_continue for one instruction set: see gemm/linear.h.
#pragma once

#include "kernels/gemm/column_lanes-inl.h"
#include "kernels/gemm/half_strips-inl.h"
#include "kernels/gemm/linear.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Half-precision weights are widened and staged in blocks of this many k, which stay in L1 beside the strips. A chain that is
/// stored in y between blocks and taken up again keeps its bits. (Float weights need no blocks: 0.98 of the FMA peak, in blocks 0.94.)
inline constexpr size_t kStageRows = 128;

/// 16 weights from `at`, as float; later ones are asked into L1.
template <WeightType kType>
PETS_INLINE Rows16 load_weights(const void* panel, size_t at) {
  if constexpr (kType == WeightType::kFloat32) {
    const float* p = static_cast<const float*>(panel) + at;
    prefetch_l1(p + 2 * kAhead * kPanelColumns);
    return load_unaligned(p);
  } else {
    const uint16_t* p = static_cast<const uint16_t*>(panel) + at;
    prefetch_l1(p + 4 * kAhead * kPanelColumns);
    return load_halves(p);
  }
}

/// Weights that the tile cannot read as they are: `stage_rows(first, rows, stage)` makes rows [first, first + rows) of the panel,
/// 16 floats each, and all strips share them. t.w and t.k are set here; t.prefetch is as in linear_panel, t.prefetch_step bytes a row.
template <class StageRows>
PETS_INLINE void staged_strips(Tile t, uint32_t width, size_t k, uint32_t rows, const StageRows& stage_rows) {
  alignas(64) float stage[kStageRows * kPanelColumns];
  t.w = stage;
  t.w_stride = kPanelColumns;
  t.read_ahead = false;
  size_t done = 0;
  do {
    t.k = k - done < kStageRows ? k - done : kStageRows;
    stage_rows(done, t.k, stage);
    tile_panel(t, width, rows);
    t.x += t.k * kStripRows;
    t.bias = nullptr;
    if (t.prefetch) t.prefetch += t.k * t.prefetch_step;
    done += t.k;
  } while (done < k);
}

/// A panel's weights as they are. The next panel, where there is one, is asked into L2, `next_step` bytes an input.
template <WeightType kType>
struct PlainColumns {
  static constexpr size_t kBlock = SIZE_MAX;
  const char* panel;
  size_t row_bytes;
  const char* next_panel;

  PETS_INLINE void block() {}
  PETS_INLINE Rows16 next() {
    if (next_panel != nullptr) {
      prefetch_l2(next_panel);
      next_panel += row_bytes;
    }
    const Rows16 columns = load_weights<kType>(panel, 0);
    panel += row_bytes;
    return columns;
  }
};

/// Where few rows of the last strip are wanted.
PETS_INLINE bool takes_few_rows(const LinearPanel& a) { return a.rows <= kFewRows && a.strips != 0 && a.type != WeightType::kBFloat16; }
/// That strip.
template <WeightType kType>
void few_rows_linear(const LinearPanel& a) {
  const size_t last = a.strips - 1;
  const float* const x[1] = {a.x + last * a.x_stride};
  float* const y = a.y + last * a.y_stride;
  const auto* const next = static_cast<const char*>(last == 0 ? a.prefetch : nullptr);
  PlainColumns<kType> weights[1] = {{static_cast<const char*>(a.panel), a.width * weight_bytes(kType), next}};
  Rows16 sums[1][1][kHalfRows];
  start_columns(a.bias != nullptr ? a.bias[last] : nullptr, y, a.width, sums[0][0]);
  column_lanes<FloatColumns>(x, a.k, weights, sums);
  store_columns(sums[0][0], a.width, true, y);
}

inline void linear_panel(const LinearPanel& a) {
  uint32_t rows = a.strips == 0 ? 0 : (a.strips - 1) * kStripRows + a.rows;
  if constexpr (kFewRows != 0) {
    if (takes_few_rows(a)) {
      a.type == WeightType::kFloat32 ? few_rows_linear<WeightType::kFloat32>(a) : few_rows_linear<WeightType::kFloat16>(a);
      rows = (a.strips - 1) * kStripRows;
      if (rows == 0) return;
    }
  }
  Tile t;
  t.x = a.x;
  t.x_stride = a.x_stride;
  t.y = a.y;
  t.y_stride = a.y_stride;
  t.bias = a.bias;
  t.prefetch = static_cast<const char*>(a.prefetch);
  t.prefetch_step = a.width * (a.type == WeightType::kFloat32 ? sizeof(float) : sizeof(uint16_t));
  if (a.type == WeightType::kFloat32) {
    t.w = static_cast<const float*>(a.panel);
    t.w_stride = a.width;
    t.k = a.k;
    tile_panel(t, a.width, rows);
    return;
  }
  if (a.type == WeightType::kBFloat16) {
    // Pairs of inputs: the even one is the low half of each 32-bit word.
    const uint32_t* pairs = static_cast<const uint32_t*>(a.panel);
    staged_strips(t, a.width, a.k, rows, [&](size_t first, size_t count, float* stage) {
      for (size_t pair = first / 2; pair < (first + count + 1) / 2; ++pair, stage += 2 * kPanelColumns) {
        prefetch_l1(pairs + (pair + kAhead) * a.width);
        const Bits16 words = load_bits_unaligned(pairs + pair * a.width);
        store(floats(shift_left<16>(words)), stage);
        store(floats(bit_and(words, static_cast<int32_t>(0xFFFF0000))), stage + kPanelColumns);
      }
    });
    return;
  }
  const uint16_t* half = static_cast<const uint16_t*>(a.panel);
  staged_strips(t, a.width, a.k, rows, [&](size_t first, size_t count, float* stage) {
    for (size_t k = first; k < first + count; ++k, stage += kPanelColumns) {
      store(load_weights<WeightType::kFloat16>(half, k * a.width), stage);
    }
  });
}

inline void linear_continue(const LinearContinue& a) {
  Tile t;
  t.x = a.x;
  t.w = a.panel;
  t.w_stride = a.width;
  t.k = a.k;
  t.y = a.y;
  t.lanes = a.lanes;
  if (a.lanes == kAllLanes) return tile_panel(t, a.width, kStripRows);
  tile_columns<1>(t, a.width);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
