// dot_panel over one dot unit: everything but the few instructions that differ between instruction sets.
//
// A *word* is 32 bits: the inputs of one group (2 bfloat16, 4 int8), of one row or of one column. A step takes one word of each. A unit
// that multiplies int8 as 16-bit integers (kWide) has two words of two a group, and weights that were widened in a stage in L1.
// A unit is a type with
//   kType, kWide      as above
//   kUnsigned         the inputs are bytes with 128 added; each sum is then put right by 128 times its column's weights
//   kUnrolled         steps of a whole panel that one turn of the loop takes; without it 1
//   columns(strips)   the widest tile of so many strips that fits the registers and pays (each is code of its own); 0: no such tile
//   Inputs            one word of 16 rows, ready for `dot`: load(words)
//   Weights<columns>  one word of so many columns: column(c) is what `dot` takes
//   dot(sums, inputs, weight)   16 sums (Bits16 or Rows16) plus products
//   word(even, odd)   bfloat16, where an instruction rounds: a word of each row's two inputs
//   dot_columns(sums, word, words)  for gemm/dot_columns-inl.h: the same of one row's word and those of 16 columns
//   column_sums(sums, words)    kUnsigned only: the same for 16 columns, all inputs being 1
#pragma once

#include "kernels/gemm/dot_convert-inl.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline constexpr uint32_t kMostDotStrips = 8;  ///< whose sums are kept while the stage is filled again; the engine's blocks
inline constexpr size_t kStageSteps = 128;     ///< 8 KiB of staged weights in L1 beside 8 KiB of each strip

struct MaskedGroups;

struct DotTile {
  const int32_t* x = nullptr;  ///< [steps][16] words
  size_t x_stride = 0;         ///< words between strips
  const int32_t* w = nullptr;  ///< words, `w_stride` of them a step
  size_t w_stride = 0;
  size_t steps = 0;
  bool first = true, last = true;      ///< whether the sums start, and end, with these steps
  int32_t* sums = nullptr;             ///< [strips][16][16]: where they are kept otherwise
  int32_t* corrections = nullptr;      ///< kUnsigned: [16], one a column, written by the tile of a panel's first column
  const float* const* bias = nullptr;  ///< [strips]
  uint32_t first_column = 0;           ///< added to every bias[s], w_scale and corrections
  const float* x_scale = nullptr;      ///< [strips][16]
  const float* w_scale = nullptr;
  float* y = nullptr;  ///< of the tile's first column
  size_t y_stride = 0;
  const char* prefetch = nullptr;  ///< `w_stride` words a step of it are asked for by the tile of the first column; never null
  MaskedGroups* next = nullptr;    ///< StageWork only: what it stages (gemm/dot_masked-inl.h)
};

/// What the tile of a panel's first columns does beside its products: asks for the next panel, and for this one into L1; and
/// sums the weights of all columns.
template <class Unit>
struct FirstColumnsWork {
  const int32_t* w;
  const char* line;
  size_t stride;
  Bits16 sums = bits_of(0);

  explicit PETS_INLINE FirstColumnsWork(const DotTile& t) : w(t.w), line(t.prefetch), stride(t.w_stride) {}
  PETS_INLINE void step() {
    prefetch_l1(w + kAhead * stride);
    prefetch_l2(line);
    if constexpr (Unit::kUnsigned) sums = Unit::column_sums(sums, load_bits_unaligned(reinterpret_cast<const uint32_t*>(w)));
    w += stride;
    line += stride * sizeof(int32_t);
  }
  PETS_INLINE void finish(int32_t* corrections) {
    if constexpr (Unit::kUnsigned) store_bits(sub(bits_of(0), shift_left<7>(sums)), corrections);
  }
};
template <class Unit>
struct NoColumnsWork {
  explicit PETS_INLINE NoColumnsWork(const DotTile&) {}
  PETS_INLINE void step() {}
  PETS_INLINE void finish(int32_t*) {}
};

template <class Unit>
constexpr int unrolled_steps() {
  if constexpr (requires { Unit::kUnrolled; }) return Unit::kUnrolled;
  return 1;
}

PETS_INLINE void load_sums(const int32_t* p, Bits16& sums) { sums = load_bits(reinterpret_cast<const uint32_t*>(p)); }
PETS_INLINE void load_sums(const int32_t* p, Rows16& sums) { sums = floats(load_bits(reinterpret_cast<const uint32_t*>(p))); }
PETS_INLINE void store_sums(const Bits16& sums, int32_t* p) { store_bits(sums, p); }
PETS_INLINE void store_sums(const Rows16& sums, int32_t* p) { store_bits(bits(sums), p); }

template <class Unit, int kStrips, int kColumns, template <class> class Work>
void dot_tile(const DotTile& t) {
  constexpr bool kIntegers = Unit::kType == WeightType::kInt8;
  typename Unit::Sums sum[kStrips][kColumns];
  const auto init = [&t](int s, int c) PETS_LAMBDA {
    return t.bias[s] ? rows_of(t.bias[s][t.first_column + c]) : load(t.y + s * t.y_stride + c * kStripRows);
  };
  const auto kept = [&t](int s, int c) PETS_LAMBDA { return t.sums + (s * kPanelColumns + t.first_column + c) * kStripRows; };
  PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
      if (!t.first) {
        load_sums(kept(s, c), sum[s][c]);
      } else if constexpr (kIntegers) {
        sum[s][c] = bits_of(0);
      } else {
        sum[s][c] = init(s, c);
      }
    }
  }

  Work<Unit> work(t);
  const int32_t* x = t.x;
  const int32_t* w = t.w;
  const auto step = [&](size_t w_stride) PETS_LAMBDA {
    work.step();
    typename Unit::Inputs inputs[kStrips];
    PETS_UNROLL for (int s = 0; s < kStrips; ++s) inputs[s].load(x + s * t.x_stride);
    const typename Unit::template Weights<kColumns> weights(w);
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
      const auto weight = weights.column(c);
      PETS_UNROLL for (int s = 0; s < kStrips; ++s) sum[s][c] = Unit::dot(sum[s][c], inputs[s], weight);
    }
    x += kStripRows;
    w += w_stride;
  };
  size_t left = t.steps;
  constexpr int kAtOnce = unrolled_steps<Unit>();
  if constexpr (kAtOnce > 1) {
    if (t.w_stride == kPanelColumns) {
      for (; left >= kAtOnce; left -= kAtOnce) {
        PETS_UNROLL for (int i = 0; i < kAtOnce; ++i) step(kPanelColumns);
      }
    }
  }
  for (; left != 0; --left) step(t.w_stride);
  work.finish(t.corrections + t.first_column);

  PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
      if constexpr (Unit::kUnsigned) sum[s][c] = add(sum[s][c], bits_of(t.corrections[t.first_column + c]));
      if (!t.last) {
        store_sums(sum[s][c], kept(s, c));
        continue;
      }
      float* const y = t.y + s * t.y_stride + c * kStripRows;
      if constexpr (kIntegers) {
        const Rows16 scale = mul(load_unaligned(t.x_scale + s * kStripRows), broadcast(t.w_scale[t.first_column + c]));
        store(mul_add(to_floats(sum[s][c]), scale, init(s, c)), y);
      } else {
        store(sum[s][c], y);
      }
    }
  }
}

using DotTileFn = void (*)(const DotTile&);
template <class Unit, int kStrips, int kColumns, template <class> class Work>
constexpr DotTileFn dot_tile_or_null() {
  if constexpr (kColumns <= Unit::columns(kStrips)) {
    return dot_tile<Unit, kStrips, kColumns, Work>;
  } else {
    return nullptr;
  }
}
/// By columns - 1.
template <class Unit, int kStrips, template <class> class Work>
inline constexpr DotTileFn kDotTiles[kPanelColumns] = {
    dot_tile_or_null<Unit, kStrips, 1, Work>(),  dot_tile_or_null<Unit, kStrips, 2, Work>(),  dot_tile_or_null<Unit, kStrips, 3, Work>(),
    dot_tile_or_null<Unit, kStrips, 4, Work>(),  dot_tile_or_null<Unit, kStrips, 5, Work>(),  dot_tile_or_null<Unit, kStrips, 6, Work>(),
    dot_tile_or_null<Unit, kStrips, 7, Work>(),  dot_tile_or_null<Unit, kStrips, 8, Work>(),  dot_tile_or_null<Unit, kStrips, 9, Work>(),
    dot_tile_or_null<Unit, kStrips, 10, Work>(), dot_tile_or_null<Unit, kStrips, 11, Work>(), dot_tile_or_null<Unit, kStrips, 12, Work>(),
    dot_tile_or_null<Unit, kStrips, 13, Work>(), dot_tile_or_null<Unit, kStrips, 14, Work>(), dot_tile_or_null<Unit, kStrips, 15, Work>(),
    dot_tile_or_null<Unit, kStrips, 16, Work>(),
};

/// `width` columns in tiles as equal as can be; `whole` is true for the strips whose tiles do the work of the first columns.
template <class Unit, int kStrips>
PETS_INLINE void dot_columns(DotTile t, uint32_t width, bool whole) {
  constexpr uint32_t kMost = Unit::columns(kStrips) < static_cast<int>(kPanelColumns) ? Unit::columns(kStrips) : kPanelColumns;
  const uint32_t tiles = (width + kMost - 1) / kMost;
  for (uint32_t i = 0; i < tiles; ++i) {
    const uint32_t columns = width / tiles + (i < width % tiles);
    (i == 0 && whole ? kDotTiles<Unit, kStrips, FirstColumnsWork> : kDotTiles<Unit, kStrips, NoColumnsWork>)[columns - 1](t);
    t.w += columns;
    t.y += columns * kStripRows;
    t.first_column += columns;
  }
}

/// The same of a whole panel, whose tiles are known: no table, no copies.
template <class Unit, int kStrips>
PETS_INLINE void dot_whole_panel(DotTile& t, bool whole) {
  constexpr int kColumns = Unit::columns(kStrips) < static_cast<int>(kPanelColumns) ? Unit::columns(kStrips) : kPanelColumns;
  if constexpr (kPanelColumns % kColumns != 0) {
    dot_columns<Unit, kStrips>(t, kPanelColumns, whole);
  } else {
    PETS_UNROLL for (uint32_t c = 0; c < kPanelColumns; c += kColumns) {
      c == 0 && whole ? dot_tile<Unit, kStrips, kColumns, FirstColumnsWork>(t) : dot_tile<Unit, kStrips, kColumns, NoColumnsWork>(t);
      t.w += kColumns;
      t.y += kColumns * kStripRows;
      t.first_column += kColumns;
    }
    t.w -= kPanelColumns;
    t.y -= kPanelColumns * kStripRows;
    t.first_column -= kPanelColumns;
  }
}
template <class Unit, int kStrips>
PETS_INLINE void dot_panel_columns(DotTile& t, uint32_t width, bool whole) {
  width == kPanelColumns ? dot_whole_panel<Unit, kStrips>(t, whole) : dot_columns<Unit, kStrips>(t, width, whole);
}

PETS_INLINE void skip_strips(DotTile& t, uint32_t count) {
  t.x += count * t.x_stride;
  t.y += count * t.y_stride;
  if (t.sums) t.sums += count * kPanelColumns * kStripRows;
  t.bias += count;
  if (t.x_scale) t.x_scale += count * kStripRows;
}

/// Up to kMostDotStrips strips, three at a time where registers allow a weight that is loaded once to serve them all.
template <class Unit>
PETS_INLINE void dot_strips(DotTile t, uint32_t width, uint32_t strips, bool whole) {
  while (strips > 0) {
    const uint32_t count = strips_at_once(strips, Unit::columns(3) > 0);
    if constexpr (Unit::columns(3) > 0) {
      if (count == 3) dot_panel_columns<Unit, 3>(t, width, whole);
      if (count == 2) dot_panel_columns<Unit, 2>(t, width, whole);
    }
    if (count == 1) dot_panel_columns<Unit, 1>(t, width, whole);
    skip_strips(t, count);
    strips -= count;
    whole = false;
  }
}

/// Neighbouring panels, up to kMostDotPanels of them, whose weights are read as they are.
template <class Unit>
void dense_dot_panels(const DotPanel& a) {
  constexpr size_t kGroup = input_group(Unit::kType);
  const size_t groups = (a.k + kGroup - 1) / kGroup;
  alignas(64) int32_t corrections[kMostDotPanels * kPanelColumns];
  DotTile t;
  t.x_stride = a.x_stride / sizeof(int32_t);
  t.steps = groups;
  t.corrections = corrections;
  t.bias = a.bias;
  t.x = static_cast<const int32_t*>(a.x);
  t.x_scale = a.x_scale;
  t.w = static_cast<const int32_t*>(a.panel);
  t.w_scale = a.w_scale;
  t.y = a.y;
  t.y_stride = a.y_stride;
  for (uint32_t left = a.width; left != 0;) {
    const uint32_t width = left < kPanelColumns ? left : kPanelColumns;
    left -= width;
    t.w_stride = width;
    const int32_t* const next = left != 0 ? t.w + groups * width : static_cast<const int32_t*>(a.prefetch);
    t.prefetch = reinterpret_cast<const char*>(next != nullptr ? next : t.w);
    dot_strips<Unit>(t, width, a.strips, true);
    t.w = next;
    t.y += kPanelColumns * kStripRows;
    t.first_column += kPanelColumns;
  }
}

/// Weights that the tile cannot read as they are: masked, or widened to 16 bits. Groups [first, first + groups) of the panel.
template <class Unit>
PETS_INLINE void stage_groups(const DotPanel& a, size_t first, size_t groups, int32_t* stage) {
  constexpr uint32_t kGroup = input_group(Unit::kType);
  const auto* panel = static_cast<const uint32_t*>(a.panel) + first * a.width;
  const auto* next = static_cast<const char*>(a.prefetch);
  Bits16 planes{};
  for (size_t group = first; group < first + groups; ++group, panel += a.width) {
    if (next) prefetch_l2(next + group * a.width * sizeof(int32_t));
    prefetch_l1(panel + kAhead * a.width);
    Bits16 words = load_bits_unaligned(panel);
    if (a.planes) {
      const auto k = static_cast<uint32_t>(group * kGroup % 32);
      if (k == 0 || group == first) planes = load_bits(a.planes + group * kGroup / 32 * kPanelColumns);
      words = keep_inputs<kGroup>(planes, k, words);
    }
    if constexpr (Unit::kWide) {
      const Bits16 second = shift_right_signed<24>(shift_left<16>(words)), fourth = shift_right_signed<24>(words);
      const Bits16 first_two = bit_or(bit_and(shift_right_signed<24>(shift_left<24>(words)), 0xFFFF), shift_left<16>(second));
      const Bits16 last_two = bit_or(bit_and(shift_right_signed<24>(shift_left<8>(words)), 0xFFFF), shift_left<16>(fourth));
      store_bits(first_two, stage);
      store_bits(last_two, stage + kPanelColumns);
      stage += 2 * kPanelColumns;
    } else {
      store_bits(words, stage);
      stage += kPanelColumns;
    }
  }
}

template <class Unit>
void dot_panel_with(const DotPanel& a) {
  if (!Unit::kWide && a.planes == nullptr) return dense_dot_panels<Unit>(a);
  constexpr size_t kGroup = input_group(Unit::kType), kStepsOfGroup = Unit::kWide ? 2 : 1, kBlock = kStageSteps / kStepsOfGroup;
  const size_t groups = (a.k + kGroup - 1) / kGroup;
  alignas(64) int32_t stage[kStageSteps * kPanelColumns];
  alignas(64) int32_t sums[kMostDotStrips * kPanelColumns * kStripRows];
  alignas(64) int32_t corrections[kPanelColumns];
  for (uint32_t first = 0; first < a.strips; first += kMostDotStrips) {
    const uint32_t strips = a.strips - first < kMostDotStrips ? a.strips - first : kMostDotStrips;
    DotTile t;
    t.x = reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + first * a.x_stride);
    t.x_stride = a.x_stride / sizeof(int32_t);
    t.w = stage;
    t.w_stride = kPanelColumns;
    t.sums = sums;
    t.corrections = corrections;
    t.bias = a.bias + first;
    t.x_scale = a.x_scale ? a.x_scale + first * kStripRows : nullptr;
    t.w_scale = a.w_scale;
    t.y = a.y + first * a.y_stride;
    t.y_stride = a.y_stride;
    // Staging asks for the next panel itself; asking again for what lies in L1 costs nothing.
    t.prefetch = reinterpret_cast<const char*>(stage);
    size_t done = 0;
    do {
      const size_t now = groups - done < kBlock ? groups - done : kBlock;
      stage_groups<Unit>(a, done, now, stage);
      t.steps = now * kStepsOfGroup;
      t.first = done == 0;
      t.last = done + now == groups;
      dot_strips<Unit>(t, a.width, strips, true);
      t.x += t.steps * kStripRows;
      done += now;
    } while (done < groups);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
