// linear_panel, linear_continue and masked_panel for one instruction set: see gemm/linear.h and mask/mask.h.
#pragma once

#include "kernels/gemm/linear.h"
#include "kernels/gemm/tile-inl.h"
#include "kernels/mask/mask.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Weights that must be widened or masked first are staged in blocks of this many k, which stay in L1 beside the strips. A chain that is
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

inline void linear_panel(const LinearPanel& a) {
  Tile t;
  t.x = a.x;
  t.x_stride = a.x_stride;
  t.y = a.y;
  t.y_stride = a.y_stride;
  t.bias = a.bias;
  if (a.type == WeightType::kFloat32) {
    t.w = static_cast<const float*>(a.panel);
    t.w_stride = a.width;
    t.k = a.k;
    t.prefetch = static_cast<const char*>(a.prefetch);
    t.prefetch_step = a.width * sizeof(float);
    tile_strips(t, a.width, a.strips);
    return;
  }
  alignas(64) float stage[kStageRows * kPanelColumns];
  const uint16_t* half = static_cast<const uint16_t*>(a.panel);
  const char* next = static_cast<const char*>(a.prefetch);
  t.w = stage;
  t.w_stride = kPanelColumns;
  t.prefetch_step = a.width * sizeof(uint16_t);
  size_t done = 0;
  do {
    t.k = a.k - done < kStageRows ? a.k - done : kStageRows;
    for (size_t k = 0; k < t.k; ++k) {
      store(load_weights<WeightType::kFloat16>(half, (done + k) * a.width), stage + k * kPanelColumns);
    }
    t.prefetch = next ? next + done * t.prefetch_step : nullptr;
    tile_strips(t, a.width, a.strips);
    t.x += t.k * kStripRows;
    t.bias = nullptr;
    done += t.k;
  } while (done < a.k);
}

inline void linear_continue(const LinearContinue& a) {
  Tile t;
  t.x = a.x;
  t.w = a.panel;
  t.w_stride = a.width;
  t.k = a.k;
  t.y = a.y;
  t.lanes = a.lanes;
  tile_columns<1>(t, a.width);
}

/// The weights of rows [first, first + rows) that their mask keeps, as float, 16 columns a row; `first` is a multiple of 32.
template <WeightType kType>
PETS_INLINE void stage_masked(const MaskedPanel& a, size_t first, size_t rows, float* stage) {
  for (size_t k = 0; k < rows; k += 32) {
    const Bits16 keep = load_bits(a.planes + (first + k) / 32 * kPanelColumns);
    const auto stage_row = [&](size_t i) PETS_LAMBDA {
      const Rows16 w = load_weights<kType>(a.panel, (first + k + i) * a.width);
      store(keep_where(keep, static_cast<int32_t>(0x80000000u >> i), w), stage + (k + i) * kPanelColumns);
    };
    if (k + 32 <= rows) {
      PETS_UNROLL for (size_t i = 0; i < 32; ++i) stage_row(i);
    } else {
      for (size_t i = 0; i < rows - k; ++i) stage_row(i);
    }
  }
}

inline void masked_panel(const MaskedPanel& a) {
  alignas(64) float stage[kStageRows * kPanelColumns];
  Tile t;
  t.x = a.x;
  t.y = a.y;
  t.w = stage;
  t.w_stride = kPanelColumns;
  t.bias = a.bias ? &a.bias : nullptr;
  t.lanes = a.lanes;
  size_t done = 0;
  do {
    t.k = a.k - done < kStageRows ? a.k - done : kStageRows;
    if (a.type == WeightType::kFloat32) {
      stage_masked<WeightType::kFloat32>(a, done, t.k, stage);
    } else {
      stage_masked<WeightType::kFloat16>(a, done, t.k, stage);
    }
    tile_columns<1>(t, a.width);
    t.x += t.k * kStripRows;
    t.bias = nullptr;
    done += t.k;
  } while (done < a.k);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
