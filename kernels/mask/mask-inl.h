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
    }
    // Bits come from a table: a load that is broadcast costs nothing on the ports of the multiplications, a register that is does.
    if constexpr (kType == WeightType::kBFloat16) {
      const auto* pair = reinterpret_cast<const uint32_t*>(static_cast<const uint16_t*>(panel) + at);
      prefetch_l1(pair + kAhead / 2 * width);
      const Bits16 words = load_bits_unaligned(pair);
      const bool odd = row % 2 != 0;
      const Bits16 wide = odd ? bit_and(words, static_cast<int32_t>(0xFFFF0000)) : shift_left<16>(words);
      store(keep_where(keep, kRowBits[row % 32], floats(wide)), to);
      if (odd) at += 2 * width;
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

/// What masked panels ask for from beyond L2 while they are read: the panels behind them, a part of these in each pass over the rows. All
/// of them in the first pass, as L3 cannot give them, would hold it up.
struct NextColumns {
  ptrdiff_t panel_to_next = 0, planes_to_next = 0;  ///< from a panel to the one that is read in its place next, and between their planes
  size_t begin = 0, end = 0;                        ///< blocks of inputs of which this pass asks for
  size_t at = 0;
  ptrdiff_t panel_ahead = 0, planes_ahead = 0;  ///< the distances in such blocks, 0 in others: what is asked for then is at hand

  NextColumns() = default;
  /// A pass over `passed` of `halves` halves of strips from `first` on, so many blocks of inputs.
  PETS_INLINE NextColumns(ptrdiff_t panel, ptrdiff_t planes, size_t blocks, uint32_t first, uint32_t passed, uint32_t halves)
      : panel_to_next(panel), planes_to_next(planes), begin(blocks * first / halves), end(blocks * (first + passed) / halves) {}
  PETS_INLINE void block() {
    const bool asks = begin <= at && at < end;
    panel_ahead = asks ? panel_to_next : 0;
    planes_ahead = asks ? planes_to_next : 0;
    ++at;
  }
};

/// A panel's weights under its planes, +0 where they are not kept, where lanes are columns (gemm/column_lanes-inl.h). Each pass over the
/// panel asks for a part of what is read next, which lies beyond L2: a task's rows are few, so a panel is soon done with.
template <WeightType kType>
struct MaskedColumns {
  static constexpr size_t kBlock = 32;
  const char* panel = nullptr;
  size_t width = 0;
  const uint32_t* planes = nullptr;
  NextColumns next_columns;  ///< bytes of the panel, words of the planes
  Bits16 keep{};
  bool odd = false;  ///< bfloat16, whose inputs lie in pairs

  PETS_INLINE void block() {
    keep = load_bits(planes);
    next_columns.block();
    prefetch_l2(planes + next_columns.planes_ahead);
    planes += kPanelColumns;
  }
  PETS_INLINE Rows16 next() {
    prefetch_l2(panel + next_columns.panel_ahead);
    Rows16 kept;
    if constexpr (kType == WeightType::kFloat32) {
      const auto* const w = reinterpret_cast<const float*>(panel);
      prefetch_l1(w + 2 * kAhead * kPanelColumns);
      kept = load_where_negative(keep, w);
      panel += width * sizeof(float);
    } else {
      Bits16 columns;
      if constexpr (kType == WeightType::kBFloat16) {
        prefetch_l1(panel + kAhead * width * weight_bytes(kType));  // others: load_weights does
        const Bits16 words = load_bits_unaligned(reinterpret_cast<const uint32_t*>(panel));
        columns = odd ? bit_and(words, static_cast<int32_t>(0xFFFF0000)) : shift_left<16>(words);
        if (odd) panel += 2 * width * sizeof(uint16_t);
        odd = !odd;
      } else {
        columns = bits(load_weights<kType>(panel, 0));
        panel += width * weight_bytes(kType);
      }
      kept = floats(bit_and(shift_right_signed<31>(keep), columns));
    }
    keep = add(keep, keep);
    return kept;
  }
};

/// kHalves times 8 rows from half `first` of `halves` on times kPanels panels from `panel` on.
template <WeightType kType, int kHalves, int kPanels>
PETS_INLINE void masked_columns_tile(const MaskedPanel& a, uint32_t halves, uint32_t first, uint32_t panel) {
  const uint32_t width = kPanels == 1 && panel + 1 == a.panels ? a.width : kPanelColumns;
  const size_t panel_bytes = padded_inputs(kType, a.k) * kPanelColumns * weight_bytes(kType), plane_words = bit_plane_words(a.k);
  // What is read next: after the last panels the first ones, by the next task.
  const ptrdiff_t panels_to_next = panel + kPanels < a.panels ? kPanels : -static_cast<ptrdiff_t>(panel);
  const float* x[kHalves];
  MaskedColumns<kType> weights[kPanels];
  Rows16 sums[kPanels][kHalves][kHalfRows];
  const auto y_of = [&](int h, int p) PETS_LAMBDA {
    const uint32_t half = first + static_cast<uint32_t>(h);
    return a.y + half / 2 * a.y_stride + half % 2 * kHalfRows + (panel + static_cast<uint32_t>(p)) * kPanelColumns * kStripRows;
  };
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    const size_t at = panel + static_cast<uint32_t>(p);
    weights[p].panel = static_cast<const char*>(a.panel) + at * panel_bytes;
    weights[p].width = width;
    weights[p].planes = a.planes + at * plane_words;
    weights[p].next_columns = {panels_to_next * static_cast<ptrdiff_t>(panel_bytes),
                               panels_to_next * static_cast<ptrdiff_t>(plane_words),
                               plane_words / kPanelColumns,
                               first,
                               kHalves,
                               halves};
    const float* const bias = a.bias != nullptr ? a.bias + at * kPanelColumns : nullptr;
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) start_columns(bias, y_of(h, p), width, sums[p][h]);
  }
  PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
    const uint32_t half = first + static_cast<uint32_t>(h);
    x[h] = a.x + half / 2 * a.x_stride + half % 2 * kHalfRows;
  }
  column_lanes<FloatColumns>(x, a.k, weights, sums);
  const uint32_t last = (a.rows - 1) / kHalfRows;
  PETS_UNROLL for (int p = 0; p < kPanels; ++p) {
    PETS_UNROLL for (int h = 0; h < kHalves; ++h) {
      const uint32_t half = first + static_cast<uint32_t>(h);
      store_columns(sums[p][h], width, half == last && half % 2 == 0, y_of(h, p));
    }
  }
}

template <WeightType kType>
void masked_columns(const MaskedPanel& a) {
  const uint32_t halves = (a.rows + kHalfRows - 1) / kHalfRows, whole = a.width == kPanelColumns ? a.panels : a.panels - 1;
  each_column_tile(halves, a.panels, whole, [&](auto rows, uint32_t half, auto panels, uint32_t panel) PETS_LAMBDA {
    masked_columns_tile<kType, decltype(rows)::kCount, decltype(panels)::kCount>(a, halves, half, panel);
  });
}

template <WeightType kType>
void masked_panels_of(MaskedPanel a) {
  if constexpr (kColumnLanes) return masked_columns<kType>(a);
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
