// The inner tile of every product of a strip and weights: kStrips strips x kColumns output columns in registers, k ascending.
// Included once by each instruction set's translation unit, after simd/rows16.h.
#pragma once

#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// y[s][c][row] = init + sum over k of x[s][k][row] * w[k * w_stride + c]
struct Tile {
  const float* x = nullptr;
  size_t x_stride = 0;
  const float* w = nullptr;
  size_t w_stride = 0;
  size_t k = 0;
  const float* const* bias = nullptr;  ///< [strips], null entries or null: the chain starts from y
  size_t first_column = 0;             ///< added to every bias[s]
  float* y = nullptr;
  size_t y_stride = 0;
  LaneMask lanes = kAllLanes;      ///< rows of y that are written
  const char* prefetch = nullptr;  ///< one line a step of k is asked for, `prefetch_step` bytes apart; null: none
  size_t prefetch_step = 64;
  bool read_ahead = true;  ///< false: the weights are in L1 already
};

/// Rows of weights, and of two strips, are asked into L1 this many steps of k ahead: without it one strip reaches 0.70 of the FMA peak,
/// three 0.89. 4, 8, 16 and 24 steps do about the same. Asking for the rows of three strips costs 0.02, of two it gives 0.04.
inline constexpr size_t kAhead = 8;

/// What a tile does once a step of k beside its products, in issue slots that are free: nothing, or asking for the next panel.
struct NoSideWork {
  PETS_INLINE void step() {}
};
struct AskForNextPanel {
  const char* line;
  size_t bytes;
  PETS_INLINE void step() {
    prefetch_l2(line);
    line += bytes;
  }
};

template <int kStrips, int kColumns, bool kReadAhead, class SideWork>
PETS_INLINE void tile_with(const Tile& t, SideWork& side_work) {
  SideWork side = side_work;  // in registers
  Rows16 sum[kStrips][kColumns];
  PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
    const float* bias = t.bias ? t.bias[s] : nullptr;
    if (bias) {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[s][c] = rows_of(bias[t.first_column + c]);
    } else {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[s][c] = load(t.y + s * t.y_stride + c * kStripRows);
    }
  }
  const float* x = t.x;
  const float* w = t.w;
  for (size_t k = t.k; k != 0; --k) {
    side.step();
    if constexpr (kReadAhead) {
      prefetch_l1(w + kAhead * t.w_stride);
      if constexpr (kStrips == 2) {
        PETS_UNROLL for (int s = 0; s < kStrips; ++s) prefetch_l1(x + s * t.x_stride + kAhead * kStripRows);
      }
    }
    Rows16 rows[kStrips];
    PETS_UNROLL for (int s = 0; s < kStrips; ++s) rows[s] = load(x + s * t.x_stride);
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
      const Broadcast weight = broadcast(w[c]);
      PETS_UNROLL for (int s = 0; s < kStrips; ++s) sum[s][c] = mul_add(rows[s], weight, sum[s][c]);
    }
    x += kStripRows;
    w += t.w_stride;
  }
  side_work = side;
  float* const y = t.y;
  if (t.lanes == kAllLanes) {
    PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) store(sum[s][c], y + s * t.y_stride + c * kStripRows);
    }
  } else {
    const RowMask mask = row_mask(t.lanes);
    PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) store_rows(mask, sum[s][c], y + s * t.y_stride + c * kStripRows);
    }
  }
}

template <int kStrips, int kColumns>
void tile(const Tile& t) {
  NoSideWork none;
  if (t.prefetch) {
    AskForNextPanel ask{t.prefetch, t.prefetch_step};
    tile_with<kStrips, kColumns, true>(t, ask);
  } else if (t.read_ahead) {
    tile_with<kStrips, kColumns, true>(t, none);
  } else {
    tile_with<kStrips, kColumns, false>(t, none);
  }
}

using TileFn = void (*)(const Tile&);

// Tile sizes: what fits the registers. AVX-512 and NEON have 32, AVX2 and SSE2 16; a Rows16 takes kVectors of them, each strip needs
// one Rows16 beside its sums, and one register holds the broadcast.
constexpr int columns_that_fit(int strips) {
  const int fit = (vectors::kRegisters - 1 - strips * static_cast<int>(kVectors)) / (strips * static_cast<int>(kVectors));
  return fit < 1 ? 1 : fit > static_cast<int>(kPanelColumns) ? static_cast<int>(kPanelColumns) : fit;
}

template <int kStrips, int kColumns>
constexpr TileFn tile_or_null() {
  if constexpr (kColumns <= columns_that_fit(kStrips)) {
    return tile<kStrips, kColumns>;
  } else {
    return nullptr;
  }
}
template <int kStrips>
inline constexpr TileFn kTiles[kPanelColumns + 1] = {
    nullptr,
    tile_or_null<kStrips, 1>(),
    tile_or_null<kStrips, 2>(),
    tile_or_null<kStrips, 3>(),
    tile_or_null<kStrips, 4>(),
    tile_or_null<kStrips, 5>(),
    tile_or_null<kStrips, 6>(),
    tile_or_null<kStrips, 7>(),
    tile_or_null<kStrips, 8>(),
    tile_or_null<kStrips, 9>(),
    tile_or_null<kStrips, 10>(),
    tile_or_null<kStrips, 11>(),
    tile_or_null<kStrips, 12>(),
    tile_or_null<kStrips, 13>(),
    tile_or_null<kStrips, 14>(),
    tile_or_null<kStrips, 15>(),
    tile_or_null<kStrips, 16>(),
};

/// `width` columns in tiles as equal as can be. Only the first asks for the next panel: it covers all of it.
template <int kStrips>
PETS_INLINE void tile_columns(Tile t, uint32_t width) {
  constexpr uint32_t kMost = columns_that_fit(kStrips);
  const uint32_t tiles = (width + kMost - 1) / kMost;
  for (uint32_t i = 0; i < tiles; ++i) {
    const uint32_t columns = width / tiles + (i < width % tiles);
    kTiles<kStrips>[columns](t);
    t.w += columns;
    t.y += columns * kStripRows;
    t.first_column += columns;
    t.prefetch = nullptr;
  }
}

/// How many of so many strips a tile takes; `several`: whether it takes more than one.
constexpr uint32_t strips_at_once(uint32_t strips, bool several = columns_that_fit(3) >= 8) {
  if (!several) return 1;
  return strips == 4 ? 2 : strips < 3 ? strips : 3;
}
/// Tiles of a whole panel where they take several strips x 8 columns, or one x 16.
constexpr uint32_t tiles_of_panel(uint32_t strips) { return strips == 1 ? 1 : (strips + 2) / 3 * 2; }

/// Any number of strips, several at a time where registers allow a weight that is loaded once to serve them all: with one strip
/// AVX-512 needs 17 loads for 16 multiply-adds, and the two load ports then limit it; with three, 11 for 24.
/// Shares of the FMA peak at K = 384 / 1536: 1 strip x 16 columns 0.85 / 0.83, 2 x 8 0.90 / 0.87, 3 x 8 0.98 / 0.96, 4 x 6 0.90 / 0.88.
inline void tile_strips(Tile t, uint32_t width, uint32_t strips) {
  while (strips > 0) {
    const uint32_t count = strips_at_once(strips);
    if constexpr (columns_that_fit(3) >= 8) {
      if (count == 3) tile_columns<3>(t, width);
      if (count == 2) tile_columns<2>(t, width);
    }
    if (count == 1) tile_columns<1>(t, width);
    t.x += count * t.x_stride;
    t.y += count * t.y_stride;
    if (t.bias) t.bias += count;
    t.prefetch = nullptr;
    strips -= count;
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
