// dot_panel of several strips under bit planes where tiles take several (AVX-512; one strip: gemm/dot_columns-inl.h): the masked weights of
// the next block of inputs are made by the tiles that multiply by those of this one, in issue slots that their products leave free. See
// gemm/dot_tile-inl.h, mask/mask-inl.h.
#pragma once

#include "kernels/gemm/dot_tile-inl.h"
#include "kernels/mask/mask.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Weights are asked for this many steps ahead, since they come from beyond L2: a task's rows are few, so a panel is soon done with.
inline constexpr size_t kFarSteps = 192;

/// Groups of inputs of one panel that are still to be staged under their planes, a step each.
struct MaskedGroups {
  const uint32_t* panel = nullptr;
  size_t width = 0;
  const uint32_t* planes = nullptr;  ///< of the next 32 inputs
  size_t left = 0;
  int32_t* to = nullptr;
  uint32_t period = 1, wait = 1;  ///< steps of a tile from one of these to the next
  uint32_t input = 0;             ///< of the 32
  Bits16 keep{};

  template <WeightType kType>
  PETS_INLINE void step() {
    if (left == 0) return;
    --left;
    if (input == 0) {
      keep = load_bits(planes);
      planes += kPanelColumns;
      prefetch_l2(planes + 8 * kPanelColumns);
    }
    prefetch_l2(panel + kFarSteps * kPanelColumns);
    store_bits(keep_inputs<static_cast<int>(input_group(kType))>(keep, input, load_bits_unaligned(panel)), to);
    panel += width;
    to += kPanelColumns;
    input = (input + input_group(kType)) % 32;
  }
  template <WeightType kType>
  PETS_INLINE void finish() {
    while (left > 0) step<kType>();
  }
};

/// The side work of a tile over staged weights: stages the next block's.
template <class Unit>
struct StageWork {
  MaskedGroups* state;
  MaskedGroups next;  // in registers

  explicit PETS_INLINE StageWork(const DotTile& t) : state(t.next), next(*t.next) {}
  PETS_INLINE void step() {
    if (--next.wait != 0) return;
    next.wait = next.period;
    next.template step<Unit::kType>();
  }
  PETS_INLINE void finish(int32_t*) { *state = next; }
};
/// The same for the tile of the block's first columns and strips, which also sums the weights of all columns (FirstColumnsWork).
template <class Unit>
struct StageAndSumWork {
  StageWork<Unit> stage;
  const int32_t* w;
  Bits16 sums = bits_of(0);

  explicit PETS_INLINE StageAndSumWork(const DotTile& t) : stage(t), w(t.w) {}
  PETS_INLINE void step() {
    if constexpr (Unit::kUnsigned) {
      sums = Unit::column_sums(sums, load_bits(reinterpret_cast<const uint32_t*>(w)));
      w += kPanelColumns;
    }
    stage.step();
  }
  PETS_INLINE void finish(int32_t* corrections) {
    if constexpr (Unit::kUnsigned) store_bits(sub(bits_of(0), shift_left<7>(sums)), corrections);
    stage.finish(corrections);
  }
};

/// Tiles that stage, those of the last columns without where they are too few. `whole`: the block's first strips.
template <class Unit, int kStrips>
PETS_INLINE void woven_dot_columns(DotTile t, uint32_t width, bool whole) {
  constexpr uint32_t kColumns = Unit::columns(kStrips);
  for (; width >= kColumns; width -= kColumns) {
    if (whole && t.first_column == 0) {
      dot_tile<Unit, kStrips, kColumns, StageAndSumWork>(t);
    } else {
      dot_tile<Unit, kStrips, kColumns, StageWork>(t);
    }
    t.w += kColumns;
    t.y += kColumns * kStripRows;
    t.first_column += kColumns;
  }
  if (width > 0) dot_columns<Unit, kStrips>(t, width, whole && t.first_column == 0);
}

/// a.planes is not null; a.width counts the columns of all panels.
template <class Unit>
void woven_dot_panels(const DotPanel& a) {
  constexpr size_t kGroup = input_group(Unit::kType);
  const size_t groups = (a.k + kGroup - 1) / kGroup;
  alignas(64) int32_t stage[2][kStageSteps * kPanelColumns];
  alignas(64) int32_t sums[kMostDotStrips * kPanelColumns * kStripRows];
  alignas(64) int32_t corrections[kPanelColumns];
  const auto panels = static_cast<uint32_t>(panel_count(a.width));
  // Steps [first, first + steps) of a panel.
  struct Block {
    uint32_t panel;
    size_t first, steps;
  };
  const auto block_at = [groups](uint32_t panel, size_t first) {
    return Block{panel, first, groups - first < kStageSteps ? groups - first : kStageSteps};
  };
  const auto to_stage = [&](const Block& block, int32_t* to) {
    MaskedGroups next;
    if (block.panel == panels) return next;
    next.width = panel_width(a.width, block.panel);
    next.panel = static_cast<const uint32_t*>(a.panel) + block.panel * groups * kPanelColumns + block.first * next.width;
    next.planes = a.planes + block.panel * bit_plane_words(a.k) + bit_plane_words(block.first * kGroup);
    next.left = block.steps;
    next.to = to;
    return next;
  };
  for (uint32_t begin = 0; begin < a.strips; begin += kMostDotStrips) {
    const uint32_t strips = a.strips - begin < kMostDotStrips ? a.strips - begin : kMostDotStrips;
    Block block = block_at(0, 0);
    to_stage(block, stage[0]).template finish<Unit::kType>();
    for (uint32_t turn = 0; block.panel < panels; ++turn) {
      const bool last = block.first + block.steps == groups;
      const Block next = last ? block_at(block.panel + 1, 0) : block_at(block.panel, block.first + block.steps);
      const size_t column = size_t{block.panel} * kPanelColumns;
      const float* starts[kMostDotStrips];
      for (uint32_t s = 0; s < strips; ++s) starts[s] = a.bias[begin + s] ? a.bias[begin + s] + column : nullptr;
      DotTile t;
      t.x = reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + begin * a.x_stride) + block.first * kStripRows;
      t.x_stride = a.x_stride / sizeof(int32_t);
      t.w = stage[turn % 2];
      t.w_stride = kPanelColumns;
      t.steps = block.steps;
      t.first = block.first == 0;
      t.last = last;
      t.sums = sums;
      t.corrections = corrections;
      t.bias = starts;
      t.x_scale = a.x_scale ? a.x_scale + begin * kStripRows : nullptr;
      t.w_scale = a.w_scale ? a.w_scale + column : nullptr;
      t.y = a.y + begin * a.y_stride + column * kStripRows;
      t.y_stride = a.y_stride;
      t.prefetch = reinterpret_cast<const char*>(t.w);
      const uint32_t width = panel_width(a.width, block.panel);
      MaskedGroups to_come = to_stage(next, stage[(turn + 1) % 2]);
      to_come.period = tiles_of_panel(strips);
      t.next = &to_come;
      for (uint32_t done = 0; done < strips;) {
        const uint32_t count = strips_at_once(strips - done, true);
        if (count == 3) woven_dot_columns<Unit, 3>(t, width, done == 0);
        if (count == 2) woven_dot_columns<Unit, 2>(t, width, done == 0);
        if (count == 1) woven_dot_columns<Unit, 1>(t, width, done == 0);
        skip_strips(t, count);
        done += count;
      }
      to_come.template finish<Unit::kType>();
      block = next;
    }
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
