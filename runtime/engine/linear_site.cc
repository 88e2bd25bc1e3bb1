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

/// Lays each segment's own start into its rows of a panel's tile, in the strips whose rows start differently.
void blend_starts(const kernels::KernelTable& kernels, const LinearSite& site, const StripPlan* plans, uint32_t strips,
                  const RowGroups& groups, uint32_t strip_begin, uint32_t panel, float* tile) {
  const size_t column = static_cast<size_t>(panel) * kPanelColumns;
  const uint32_t width = kernels::panel_width(site.weights->out, panel);
  for (uint32_t s = 0; s < strips; ++s) {
    if (!plans[s].dense || !plans[s].blended) continue;
    for (const RowSegment& segment : groups.of(strip_begin + s)) {
      const LinearOperators* operators = segment.task->weights.layer[site.layer].linear[site.index];
      const float* start = start_at(chain_start(operators, *site.weights), column);
      kernels.broadcast(start, width, segment.lanes, tile + s * site.y_stride);
    }
  }
}

/// The chains of masked tasks in one panel. Neighbouring strips that one task owns whole share the masked weights.
void apply_masks(const SharedLinear& linear, const LinearWeights& weights, const StripPlan* plans, uint32_t strips, PanelCall call) {
  const size_t column = static_cast<size_t>(call.panel) * kPanelColumns;
  for (uint32_t s = 0; s < strips; s += call.run) {
    call.first = s;
    call.run = 1;
    for (uint32_t a = 0; a < plans[s].active_count; ++a) {
      const ActiveSegment& active = plans[s].active[a];
      if (active.operators->mask == nullptr) continue;
      const auto same_task = [&](const StripPlan& plan) {
        return plan.active_count == 1 && plan.active[0].operators == active.operators && plan.active[0].lanes == kernels::kAllLanes;
      };
      if (same_task(plans[s])) {
        while (s + call.run < strips && same_task(plans[s + call.run]) && linear.neighbours(s, call.run)) ++call.run;
      }
      PanelCall own = call;
      if (plans[s].dense) {
        // The dense chains of the strip's other rows go on over all of its rows, so these take their place once all inputs are in.
        if (!call.part.last) continue;
        own.part = {0, weights.in, true, true};
      }
      const float* start = own.part.first ? start_at(chain_start(active.operators, weights), column) : nullptr;
      linear.masked(own, active.operators->mask, start, active.lanes);
    }
  }
}

/// The dense chains of one panel. Strips that lie one after another go to the kernel together.
void apply_dense(const SharedLinear& linear, const StripPlan* plans, uint32_t strips, PanelCall call) {
  const size_t column = static_cast<size_t>(call.panel) * kPanelColumns;
  for (uint32_t s = 0; s < strips; s += std::max(call.run, 1U)) {
    const float* starts[kBlockStrips];
    call.first = s;
    call.run = 0;
    for (uint32_t i = s; i < strips && plans[i].dense && linear.neighbours(s, i - s); ++i) {
      const bool from_tile = !call.part.first || plans[i].blended;
      starts[call.run++] = from_tile ? nullptr : start_at(plans[i].uniform_bias, column);
    }
    if (call.run != 0) linear.dense(call, starts);
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

/// What follows the chains of one panel once all inputs are in.
void finish_panel(const kernels::KernelTable& kernels, const LinearSite& site, const StripPlan* plans, uint32_t strips, uint32_t panel,
                  const LinearScratch& scratch, float* tile) {
  const uint32_t width = kernels::panel_width(site.weights->out, panel);
  for (uint32_t s = 0; s < strips; ++s, tile += site.y_stride) {
    if (plans[s].active_count != 0) {
      apply_operators(kernels, *site.weights, plans[s], scratch.low_rank + s * scratch.low_rank_stride, panel, width, tile);
    }
    if (site.activation != kernels::Activation::kNone) kernels.activate(site.activation, tile, width, tile);
  }
}

}  // namespace

void apply_linear(const kernels::KernelTable& kernels, const LinearSite& site, const RowGroups& groups, uint32_t strip_begin,
                  uint32_t strips, uint32_t panel_begin, uint32_t panel_end, const LinearScratch& scratch) {
  const LinearWeights& weights = *site.weights;
  SharedLinear linear(kernels, weights, site.x_stride, site.y_stride, scratch.converted);
  StripPlan plans[kBlockStrips];
  for (uint32_t s = 0; s < strips; ++s) {
    plans[s] = plan_strip(site, groups.of(strip_begin + s));
    scale_input(kernels, weights, site.x + s * site.x_stride, plans[s], scratch.scaled_input + s * scratch.scaled_stride);
    project_low_rank(kernels, weights, plans[s], scratch.low_rank + s * scratch.low_rank_stride, scratch.low_rank_temporary);
    linear.set_input(s, plans[s].x);
  }
  linear.each_part([&](const InputPart& part) {
    PanelCall call;
    call.part = part;
    call.panel_end = panel_end;
    for (call.panel = panel_begin; call.panel < panel_end; ++call.panel) {
      call.tile = site.y + static_cast<size_t>(call.panel) * kPanelColumns * kStripRows;
      if (part.first) blend_starts(kernels, site, plans, strips, groups, strip_begin, call.panel, call.tile);
      apply_dense(linear, plans, strips, call);
      apply_masks(linear, weights, plans, strips, call);
      if (part.last) finish_panel(kernels, site, plans, strips, call.panel, scratch, call.tile);
    }
  });
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
