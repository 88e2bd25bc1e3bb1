// masked_panel for one instruction set: see mask/mask.h.
#pragma once

#include "kernels/gemm/linear-inl.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/tile-inl.h"
#include "kernels/mask/mask.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Masked weights are staged in L1 in blocks of this many k: while the tile works on one block, it stages the next one, row by row.
inline constexpr size_t kMaskRows = 64;

inline constexpr struct RowBits {
  int32_t bit[32] = {};
  constexpr RowBits() {
    for (uint32_t i = 0; i < 32; ++i) bit[i] = static_cast<int32_t>(0x80000000u >> i);
  }
  constexpr const int32_t& operator[](uint32_t i) const { return bit[i]; }
} kRowBits;

/// Whether tiles take several strips (AVX-512), and weights are masked beside them: see woven_panels_of.
inline constexpr bool kWoven = columns_that_fit(3) >= 8;
/// Weights are then asked into L2 so many rows ahead: a panel's products by a task's few rows are soon done, and the next comes from L3.
inline constexpr size_t kFarRows = 192;

/// Stages one row of 16 weights a step, those that their mask keeps, the others as +0.
template <WeightType kType>
struct StageMasked {
  const void* panel;
  size_t at;  ///< the row's first value in the panel; of bfloat16, whose rows lie in pairs, the pair's
  size_t width;
  const uint32_t* planes;  ///< of the next 32 rows
  size_t left;             ///< rows still to stage
  float* to;
  Bits16 keep{};
  uint32_t row = 0;

  PETS_INLINE void step() {
    if (left == 0) return;
    --left;
    if (row % 32 == 0) {
      keep = load_bits(planes);
      planes += kPanelColumns;
      if constexpr (kWoven) prefetch_l2(planes + 8 * kPanelColumns);
    }
    if constexpr (kWoven) prefetch_l2(static_cast<const char*>(panel) + (at + kFarRows * kPanelColumns) * weight_bytes(kType));
    // Bits come from a table: a load that is broadcast costs nothing on the ports of the multiplications, a register that is does.
    if constexpr (kType == WeightType::kBFloat16) {
      const auto* pair = reinterpret_cast<const uint32_t*>(static_cast<const uint16_t*>(panel) + at);
      prefetch_l1(pair + kAhead / 2 * width);
      const Bits16 words = load_bits_unaligned(pair);
      const bool odd = row % 2 != 0;
      const Bits16 wide = odd ? bit_and(words, static_cast<int32_t>(0xFFFF0000)) : shift_left<16>(words);
      store(keep_where(keep, kRowBits[row % 32], floats(wide)), to);
      if (odd) at += 2 * width;
    } else if constexpr (kWoven && kType == WeightType::kFloat32) {
      store_bits(bit_and(shift_right_signed<31>(keep), load_bits_unaligned(static_cast<const uint32_t*>(panel) + at)),
                 reinterpret_cast<int32_t*>(to));
      keep = add(keep, keep);
      at += width;
    } else {
      store(keep_where(keep, kRowBits[row % 32], load_weights<kType>(panel, at)), to);
      at += width;
    }
    ++row;
    to += kPanelColumns;
  }
  PETS_INLINE void finish() {
    while (left > 0) step();
  }
};

/// One strip, staged beside the tile.
template <WeightType kType>
void masked_strip_of(const MaskedPanel& a) {
  alignas(64) float stage[2][kMaskRows * kPanelColumns];
  Tile t;
  t.x = a.x;
  t.w_stride = kPanelColumns;
  t.bias = a.bias ? &a.bias : nullptr;
  t.read_ahead = false;
  const auto rows_from = [&a](size_t k) { return a.k - k < kMaskRows ? a.k - k : kMaskRows; };
  StageMasked<kType>{a.panel, 0, a.width, a.planes, rows_from(0), stage[0]}.finish();

  // The first columns' tile does the staging; the widest one that fits the registers leaves the most room for it.
  constexpr uint32_t kTilesOf16 = (kPanelColumns + columns_that_fit(1) - 1) / columns_that_fit(1);
  constexpr uint32_t kFirst = (kPanelColumns + kTilesOf16 - 1) / kTilesOf16;
  size_t done = 0;
  for (size_t block = 0;; ++block) {
    t.k = rows_from(done);
    t.w = stage[block % 2];
    t.y = a.y;
    done += t.k;
    StageMasked<kType> next{a.panel,         done * a.width,        a.width, a.planes + done / 32 * kPanelColumns,
                            rows_from(done), stage[(block + 1) % 2]};
    if (a.width >= kFirst) {
      tile_with<1, kFirst, false>(t, next);
      Tile rest = t;
      rest.w += kFirst;
      rest.y += kFirst * kStripRows;
      rest.first_column = kFirst;
      tile_columns<1>(rest, a.width - kFirst);
    } else {
      tile_columns<1>(t, a.width);
    }
    next.finish();
    t.x += t.k * kStripRows;
    t.bias = nullptr;
    if (done == a.k) break;
  }
}

/// Stages `rows` rows of float32 weights from row `first`, a multiple of 32. The bit of a row is brought to the sign, where masked loads
/// look for it: three operations a register and row.
inline void stage_masked_rows(const MaskedPanel& a, size_t first, size_t rows, float* stage) {
  const float* w = static_cast<const float*>(a.panel) + first * a.width;
  const uint32_t* planes = a.planes + first / 32 * kPanelColumns;
  const uint32_t* next = a.prefetch_planes ? a.prefetch_planes + first / 32 * kPanelColumns : nullptr;
  for (size_t done = 0; done < rows; planes += kPanelColumns) {
    Bits16 keep = load_bits(planes);
    if (next) prefetch_l2(next + done / 32 * kPanelColumns);
    for (const size_t end = rows - done < 32 ? rows : done + 32; done < end; ++done) {
      prefetch_l1(w + kAhead * kPanelColumns);
      store(load_where_negative(keep, w), stage);
      keep = add(keep, keep);
      w += a.width;
      stage += kPanelColumns;
    }
  }
}

/// All strips share the staged weights, as in linear_panel's half-precision path.
template <WeightType kType>
void masked_strips_of(const MaskedPanel& a) {
  constexpr uint32_t kMostStrips = 16;
  static_assert(kStageRows % 32 == 0);  // so blocks begin with whole words of planes, and with whole pairs
  const float* starts[kMostStrips];
  for (const float*& start : starts) start = a.bias;
  const uint32_t all_strips = (a.rows + kStripRows - 1) / kStripRows;
  for (uint32_t first = 0; first < all_strips; first += kMostStrips) {
    const uint32_t left = a.rows - first * kStripRows;
    const uint32_t rows = left < kMostStrips * kStripRows ? left : kMostStrips * kStripRows;
    Tile t;
    t.x = a.x + first * a.x_stride;
    t.x_stride = a.x_stride;
    t.y = a.y + first * a.y_stride;
    t.y_stride = a.y_stride;
    t.bias = a.bias ? starts : nullptr;
    t.prefetch = static_cast<const char*>(a.prefetch);
    t.prefetch_step = a.width * (kType == WeightType::kFloat32 ? sizeof(float) : sizeof(uint16_t));
    staged_strips(t, a.width, a.k, rows, [&](size_t row, size_t rows_of_k, float* stage) {
      if constexpr (kType == WeightType::kFloat32 && kVectors == 2) return stage_masked_rows(a, row, rows_of_k, stage);
      StageMasked<kType>{a.panel, row * a.width, a.width, a.planes + row / 32 * kPanelColumns, rows_of_k, stage}.finish();
    });
  }
}

/// Staging a row takes five instructions; a step of 3 strips x 8 columns has 24 products, 12 cycles, and issue slots for twice its
/// instructions. So all tiles of a block of k together stage the next block, of this panel or of the next one, a row every few steps: one
/// tile alone would be short of load slots. Chains wait in y between blocks. Two blocks of this size stay in L1.
inline constexpr size_t kWovenRows = 128;

/// A block of k of one of the panels.
struct MaskedBlock {
  uint32_t panel = 0;
  size_t first = 0, rows = 0;  ///< of k
};

template <WeightType kType>
PETS_INLINE StageMasked<kType> stage_block(const MaskedPanel& a, const MaskedBlock& block, float* to) {
  const size_t width = block.panel + 1 == a.panels ? a.width : kPanelColumns;
  const size_t at = block.panel * padded_inputs(kType, a.k) * kPanelColumns + block.first * width;
  return {a.panel, at, width, a.planes + block.panel * bit_plane_words(a.k) + block.first / 32 * kPanelColumns, block.rows, to};
}

/// A step of work every so many steps of the tiles.
template <class Work>
struct EveryFewSteps {
  Work work;
  uint32_t period;
  uint32_t wait;
  PETS_INLINE void step() {
    if (--wait != 0) return;
    wait = period;
    work.step();
  }
};

/// Tiles with side work, those of the last columns without where they are too few.
template <int kStrips, class Side>
PETS_INLINE void woven_columns(Tile t, uint32_t width, Side& side) {
  constexpr uint32_t kColumns = columns_that_fit(kStrips) / 8 * 8;
  for (; width >= kColumns; width -= kColumns) {
    tile_with<kStrips, kColumns, false>(t, side);
    t.w += kColumns;
    t.y += kColumns * kStripRows;
    t.first_column += kColumns;
  }
  if (width > 0) tile_columns<kStrips>(t, width);
}

/// The last strip where few of its rows are wanted (gemm/few_rows-inl.h): the stage is read as it lies. Chains wait in `sums`.
template <class Side>
PETS_INLINE void woven_few_rows(const Tile& t, bool last, float (&kept)[kFewRowsSums][kStripRows], Side& side) {
  Rows16 sums[kFewRowsSums];
  if (t.bias) {
    const Rows16 start = load_unaligned(t.bias[0]);
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = start;
  } else {
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) sums[r] = load(kept[r]);
  }
  const auto weights = [&t](size_t k) PETS_LAMBDA { return load(t.w + k * kPanelColumns); };
  few_rows_steps(t.x, t.k, weights, side, sums);
  if (last) return store_transposed(sums, t.y);
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) store(sums[r], kept[r]);
}

template <WeightType kType>
void woven_panels_of(const MaskedPanel& a) {
  alignas(64) float stage[2][kWovenRows * kPanelColumns];
  alignas(64) float few_sums[kFewRowsSums][kStripRows];
  const auto next_of = [&a](const MaskedBlock& block) {
    const bool same = block.first + block.rows < a.k;
    MaskedBlock next{block.panel + !same, same ? block.first + block.rows : 0, 0};
    if (next.panel < a.panels) next.rows = a.k - next.first < kWovenRows ? a.k - next.first : kWovenRows;
    return next;
  };
  MaskedBlock block{0, 0, a.k < kWovenRows ? a.k : kWovenRows};
  stage_block<kType>(a, block, stage[0]).finish();
  const uint32_t last_rows = a.rows % kStripRows;
  for (uint32_t turn = 0; block.panel < a.panels; ++turn) {
    const MaskedBlock next = next_of(block);
    const uint32_t width = block.panel + 1 == a.panels ? a.width : kPanelColumns;
    const bool few = last_rows != 0 && last_rows <= kFewRows && width == kPanelColumns && a.bias != nullptr;
    const uint32_t strips = few ? a.rows / kStripRows : (a.rows + kStripRows - 1) / kStripRows;
    const uint32_t tiles = (strips == 0 ? 0 : tiles_of_panel(strips)) + (few ? 1 : 0);
    EveryFewSteps<StageMasked<kType>> side{stage_block<kType>(a, next, stage[(turn + 1) % 2]), tiles, 1};
    const float* const bias = a.bias ? a.bias + block.panel * kPanelColumns : nullptr;
    const float* const starts[3] = {bias, bias, bias};
    Tile t;
    t.x = a.x + block.first * kStripRows;
    t.x_stride = a.x_stride;
    t.w = stage[turn % 2];
    t.w_stride = kPanelColumns;
    t.k = block.rows;
    t.read_ahead = false;
    t.bias = bias && block.first == 0 ? starts : nullptr;
    t.y = a.y + block.panel * kPanelColumns * kStripRows;
    t.y_stride = a.y_stride;
    for (uint32_t done = 0; done < strips;) {
      const uint32_t count = strips_at_once(strips - done);
      if (count == 3) woven_columns<3>(t, width, side);
      if (count == 2) woven_columns<2>(t, width, side);
      if (count == 1) woven_columns<1>(t, width, side);
      t.x += count * a.x_stride;
      t.y += count * a.y_stride;
      done += count;
    }
    if (few) woven_few_rows(t, block.first + block.rows == a.k, few_sums, side);
    side.work.finish();
    block = next;
  }
}

template <WeightType kType>
void masked_panels_of(MaskedPanel a) {
  if constexpr (kWoven) return woven_panels_of<kType>(a);
  const uint32_t last_width = a.width;
  for (uint32_t left = a.panels; left > 0; --left) {
    a.width = left == 1 ? last_width : kPanelColumns;
    // Two registers a strip: staging first leaves the tile its order and costs less than what it does beside a tile.
    if constexpr (kVectors == 2) {
      masked_strips_of<kType>(a);
    } else {
      a.rows > kStripRows ? masked_strips_of<kType>(a) : masked_strip_of<kType>(a);
    }
    a.panel = static_cast<const char*>(a.panel) + padded_inputs(kType, a.k) * kPanelColumns * weight_bytes(kType);
    a.planes += bit_plane_words(a.k);
    if (a.bias) a.bias += kPanelColumns;
    a.y += kPanelColumns * kStripRows;
  }
}

inline void masked_panel(const MaskedPanel& a) {
  if (a.type == WeightType::kFloat32) {
    masked_panels_of<WeightType::kFloat32>(a);
  } else if (a.type == WeightType::kBFloat16) {
    masked_panels_of<WeightType::kBFloat16>(a);
  } else {
    masked_panels_of<WeightType::kFloat16>(a);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
