#include "runtime/engine/linear_site.h"

#include <algorithm>

#include "kernels/gemm/panel_layout.h"

namespace pets::engine {
namespace {

using kernels::kPanelColumns;
using kernels::kStripRows;
using kernels::LaneMask;

/// A segment whose task has operators at this site.
struct ActiveSegment {
  const LinearOperators* operators;
  LaneMask lanes;
};

/// How one strip of the block is computed.
struct StripPlan {
  const float* x = nullptr;             // the strip's input, scaled where a task scales it
  const float* uniform_bias = nullptr;  // one start for all rows, or null: `blended`
  bool dense = true;                    // false where every row is masked
  bool blended = false;                 // rows start from different biases
  uint32_t active_count = 0;
  ActiveSegment active[kStripRows];
};

alignas(64) constexpr float kZeros[kPanelColumns] = {};

/// The value that a task's chains start from: its bias, or zero where the bias comes after the output scale.
const float* chain_start(const LinearOperators* operators, const LinearWeights& weights) {
  if (operators == nullptr) return weights.bias;
  if (operators->scale_output != nullptr) return nullptr;
  return operators->bias != nullptr ? operators->bias : weights.bias;
}

/// The first panel_begin-th values of a start vector; null stands for zeros.
const float* start_at(const float* start, size_t column) { return start == nullptr ? kZeros : start + column; }

void scale_input(const kernels::KernelTable& kernels, const LinearWeights& weights, const float* x, StripPlan& plan, float* scaled) {
  bool copied = false;
  for (uint32_t a = 0; a < plan.active_count; ++a) {
    const ActiveSegment& active = plan.active[a];
    if (active.operators->scale_input == nullptr) continue;
    if (!copied) kernels.blend(x, weights.in, kernels::kAllLanes, scaled);
    copied = true;
    kernels.scale_features(x, active.operators->scale_input, weights.in, active.lanes, scaled);
  }
  plan.x = copied ? scaled : x;
}

/// Z = X'A of every low-rank segment, each in its own lanes of one strip.
void project_low_rank(const kernels::KernelTable& kernels, const LinearWeights& weights, const StripPlan& plan, float* z,
                      float* temporary) {
  for (uint32_t a = 0; a < plan.active_count; ++a) {
    const ActiveSegment& active = plan.active[a];
    const uint32_t rank = active.operators->rank;
    if (rank == 0) continue;
    float* target = active.lanes == kernels::kAllLanes ? z : temporary;
    LinearWeights factor;
    factor.panels = active.operators->low_rank_a;
    factor.out = rank;
    factor.in = weights.in;
    apply_plain_linear(kernels, factor, plan.x, target);
    if (target == temporary) kernels.blend(temporary, rank, active.lanes, z);
  }
}

StripPlan plan_strip(const LinearSite& site, std::span<const RowSegment> segments) {
  StripPlan plan;
  plan.dense = false;
  bool first = true;
  const float* start = nullptr;
  for (const RowSegment& segment : segments) {
    const LinearOperators* operators = segment.task->weights.layer[site.layer].linear[site.index];
    const bool masked = operators != nullptr && operators->mask != nullptr;
    if (!masked) plan.dense = true;
    const float* own = chain_start(operators, *site.weights);
    if (!first && own != start) plan.blended = true;
    start = own;
    first = false;
    if (operators != nullptr) plan.active[plan.active_count++] = {operators, segment.lanes};
  }
  plan.uniform_bias = plan.blended ? nullptr : start;
  return plan;
}

/// Lays each segment's own start into its rows of the tile.
void blend_starts(const kernels::KernelTable& kernels, const LinearSite& site, std::span<const RowSegment> segments, size_t column,
                  uint32_t width, float* tile) {
  for (const RowSegment& segment : segments) {
    const LinearOperators* operators = segment.task->weights.layer[site.layer].linear[site.index];
    kernels.broadcast(start_at(chain_start(operators, *site.weights), column), width, segment.lanes, tile);
  }
}

/// Whether the weights are read by dot products of converted strips.
bool reads_converted(const kernels::KernelTable& kernels, const LinearWeights& weights) {
  return weights.type == kernels::WeightType::kInt8 || (weights.type == kernels::WeightType::kBFloat16 && kernels.bfloat16_dot);
}

/// One panel over the converted strips [first, first + run) of the call. `tile`: of the call's strip 0; lanes, planes and what to
/// prefetch are the caller's.
kernels::DotPanel dot_call(const LinearSite& site, const LinearScratch& scratch, size_t panel, uint32_t first, uint32_t run,
                           const float* const* starts, float* tile) {
  const LinearWeights& weights = *site.weights;
  const kernels::LinearPanel dense = weights.panel(panel);
  kernels::DotPanel call;
  call.type = weights.type;
  call.x = scratch.converted + first * scratch.converted_stride;
  call.x_stride = scratch.converted_stride;
  call.x_scale = scratch.row_scale + first * kStripRows;
  call.y = tile + first * site.y_stride;
  call.y_stride = site.y_stride;
  call.panel = dense.panel;
  call.w_scale = weights.scale == nullptr ? nullptr : weights.scale + panel * kPanelColumns;
  call.width = dense.width;
  call.k = dense.k;
  call.bias = starts;
  call.strips = run;
  return call;
}

/// The chains of masked tasks in one panel. Neighbouring strips that one task owns whole share the masked weights.
void apply_masks(const kernels::KernelTable& kernels, const LinearSite& site, const StripPlan* plans, uint32_t strips, size_t panel,
                 const LinearScratch& scratch, float* tile) {
  const LinearWeights& weights = *site.weights;
  const bool converted = reads_converted(kernels, weights);
  const size_t column = panel * kPanelColumns;
  for (uint32_t s = 0; s < strips;) {
    uint32_t run = 1;
    for (uint32_t a = 0; a < plans[s].active_count; ++a) {
      const ActiveSegment& active = plans[s].active[a];
      if (active.operators->mask == nullptr) continue;
      const auto same_task = [&](const StripPlan& plan) {
        return plan.active_count == 1 && plan.active[0].operators == active.operators && plan.active[0].lanes == kernels::kAllLanes;
      };
      if (same_task(plans[s])) {
        const auto next_to = [&](const StripPlan& plan) { return converted || plan.x == plans[s].x + run * site.x_stride; };
        while (s + run < strips && same_task(plans[s + run]) && next_to(plans[s + run])) ++run;
      }
      const uint32_t* planes = active.operators->mask + panel * kernels::bit_plane_words(weights.in);
      const float* start = start_at(chain_start(active.operators, weights), column);
      if (converted) {
        const float* starts[kBlockStrips];
        std::fill_n(starts, run, start);
        kernels::DotPanel call = dot_call(site, scratch, panel, s, run, starts, tile);
        call.planes = planes;
        call.lanes = active.lanes;
        kernels.dot_panel(call);
        continue;
      }
      const kernels::LinearPanel dense = weights.panel(panel);
      kernels::MaskedPanel call;
      call.x = plans[s].x;
      call.y = tile + s * site.y_stride;
      call.panel = dense.panel;
      call.type = dense.type;
      call.width = dense.width;
      call.k = dense.k;
      call.planes = planes;
      call.bias = start;
      call.lanes = active.lanes;
      call.strips = run;
      call.x_stride = site.x_stride;
      call.y_stride = site.y_stride;
      kernels.masked_panel(call);
    }
    s += run;
  }
}

/// Everything that follows the dense or masked chain in one tile.
void apply_operators(const kernels::KernelTable& kernels, const LinearWeights& weights, const StripPlan& plan, const float* z, size_t panel,
                     uint32_t width, float* tile) {
  const size_t column = panel * kPanelColumns;
  for (uint32_t a = 0; a < plan.active_count; ++a) {
    const LinearOperators& op = *plan.active[a].operators;
    const LaneMask lanes = plan.active[a].lanes;
    if (op.rank != 0) {
      kernels::LinearContinue call;
      call.x = z;
      call.panel = op.low_rank_b + kernels::panel_offset(op.rank, panel);
      call.k = op.rank;
      call.width = width;
      call.lanes = lanes;
      call.y = tile;
      kernels.linear_continue(call);
    }
    if (op.sparse_values != nullptr) {
      kernels::SparseTile call;
      call.x = plan.x;
      call.column_start = op.sparse_column_start + column;
      call.rows = op.sparse_rows;
      call.values = op.sparse_values;
      call.width = width;
      call.lanes = lanes;
      call.y = tile;
      kernels.sparse_tile(call);
    }
    if (op.scale_output != nullptr) {
      const float* bias = op.bias != nullptr ? op.bias : weights.bias;
      kernels.scale_bias(op.scale_output + column, bias == nullptr ? nullptr : bias + column, width, lanes, tile);
    }
  }
}

}  // namespace

void apply_linear(const kernels::KernelTable& kernels, const LinearSite& site, const RowGroups& groups, uint32_t strip_begin,
                  uint32_t strips, uint32_t panel_begin, uint32_t panel_end, const LinearScratch& scratch) {
  const LinearWeights& weights = *site.weights;
  const bool converted = reads_converted(kernels, weights);
  StripPlan plans[kBlockStrips];
  for (uint32_t s = 0; s < strips; ++s) {
    plans[s] = plan_strip(site, groups.of(strip_begin + s));
    scale_input(kernels, weights, site.x + s * site.x_stride, plans[s], scratch.scaled_input + s * scratch.scaled_stride);
    project_low_rank(kernels, weights, plans[s], scratch.low_rank + s * scratch.low_rank_stride, scratch.low_rank_temporary);
    if (converted) {
      kernels.convert_strip(weights.type, plans[s].x, weights.in, scratch.converted + s * scratch.converted_stride,
                            scratch.row_scale + s * kStripRows);
    }
  }
  for (uint32_t panel = panel_begin; panel < panel_end; ++panel) {
    const size_t column = static_cast<size_t>(panel) * kPanelColumns;
    const uint32_t width = kernels::panel_width(weights.out, panel);
    float* tile = site.y + column * kStripRows;
    for (uint32_t s = 0; s < strips; ++s) {
      if (plans[s].dense && plans[s].blended) {
        blend_starts(kernels, site, groups.of(strip_begin + s), column, width, tile + s * site.y_stride);
      }
    }
    // Strips that lie one after another in memory go to the kernel together.
    for (uint32_t s = 0; s < strips;) {
      if (!plans[s].dense) {
        ++s;
        continue;
      }
      const float* starts[kBlockStrips];
      uint32_t run = 0;
      const auto next_to = [&](const StripPlan& plan) { return converted || plan.x == plans[s].x + run * site.x_stride; };
      for (; s + run < strips && plans[s + run].dense && next_to(plans[s + run]); ++run) {
        starts[run] = plans[s + run].blended ? nullptr : start_at(plans[s + run].uniform_bias, column);
      }
      const void* prefetch = panel + 1 < panel_end ? weights.panel(panel + 1).panel : nullptr;
      if (converted) {
        kernels::DotPanel call = dot_call(site, scratch, panel, s, run, starts, tile);
        call.prefetch = prefetch;
        kernels.dot_panel(call);
      } else {
        kernels::LinearPanel call = weights.panel(panel);
        call.x = plans[s].x;
        call.x_stride = site.x_stride;
        call.y = tile + s * site.y_stride;
        call.y_stride = site.y_stride;
        call.bias = starts;
        call.strips = run;
        call.prefetch = prefetch;
        kernels.linear_panel(call);
      }
      s += run;
    }
    apply_masks(kernels, site, plans, strips, panel, scratch, tile);
    for (uint32_t s = 0; s < strips; ++s) {
      float* strip_tile = tile + s * site.y_stride;
      if (plans[s].active_count != 0) {
        apply_operators(kernels, weights, plans[s], scratch.low_rank + s * scratch.low_rank_stride, panel, width, strip_tile);
      }
      if (site.activation != kernels::Activation::kNone) kernels.activate(site.activation, strip_tile, width, strip_tile);
    }
  }
}

void apply_plain_linear(const kernels::KernelTable& kernels, const LinearWeights& weights, const float* x, float* y) {
  for (size_t panel = 0; panel < kernels::panel_count(weights.out); ++panel) {
    const size_t column = panel * kPanelColumns;
    const float* start = start_at(weights.bias, column);
    kernels::LinearPanel call = weights.panel(panel);
    call.x = x;
    call.y = y + column * kStripRows;
    call.bias = &start;
    kernels.linear_panel(call);
  }
}

}  // namespace pets::engine
