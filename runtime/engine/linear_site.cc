#include "runtime/engine/linear_site.h"

#include <algorithm>

#include "kernels/gemm/panel_layout.h"
#include "runtime/engine/task_rows.h"

namespace pets::engine {
namespace {

using kernels::kPanelColumns;
using kernels::kStripRows;
using kernels::LaneMask;

/// How one strip of the block is computed.
struct StripPlan {
  LaneMask dense = 0, masked = 0;  ///< rows whose chains run over the base's weights, and over a task's masked ones
  bool blended = false;            ///< dense rows start from different biases
  const float* start = nullptr;    ///< else: what they start from, null stands for zeros
};

/// A task that has operators at this site, and its rows in the block.
struct SiteTask {
  const LinearOperators* operators;
  RowRange range;
};

/// One call of apply_linear.
struct Site {
  const kernels::KernelTable& kernels;
  const LinearSite& site;
  const LinearWeights& weights;
  const RowGroups& groups;
  const LinearScratch& scratch;
  SharedLinear linear;
  uint32_t strip_begin, strips;
  StripPlan plan[kMostBlockStrips];
  SiteTask task[kMostBlockStrips * kStripRows];
  uint32_t tasks = 0;
  bool masks = false;  ///< whether any task has masked weights
  size_t y_stride;     ///< floats
  /// Which y begins with: 0 where y stays. Scratch has the panels of one call, which stay in L1, or the caller's where masks take turns.
  uint32_t first_panel = 0;

  Site(const kernels::KernelTable& table, const LinearSite& linear_site, const RowGroups& row_groups, uint32_t first, uint32_t count,
       const LinearScratch& worker_scratch)
      : kernels(table),
        site(linear_site),
        weights(*linear_site.weights),
        groups(row_groups),
        scratch(worker_scratch),
        linear(table, *linear_site.weights, linear_site.x_stride,
               linear_site.converted_x != nullptr ? *linear_site.converted_x : worker_scratch.converted),
        strip_begin(first),
        strips(count),
        y_stride(linear_site.y_stride) {}

  const LinearOperators* operators_of(const Task& owner) const { return owner.weights.layer[site.layer].linear[site.index]; }
  float* tile(uint32_t strip, uint32_t panel) const {
    return site.y + strip * y_stride + static_cast<size_t>(panel - first_panel) * kPanelColumns * kStripRows;
  }
  uint32_t width(uint32_t panel) const { return kernels::panel_width(weights.out, panel); }
};

alignas(64) constexpr float kZeros[kernels::kMostDotPanels * kPanelColumns] = {};

/// The value that a task's chains start from: its bias, or zero where the bias comes after the output scale.
const float* chain_start(const LinearOperators* operators, const LinearWeights& weights) {
  if (operators == nullptr) return weights.bias;
  if (operators->scale_output != nullptr) return nullptr;
  return operators->bias != nullptr ? operators->bias : weights.bias;
}

/// The part of a start vector for one panel; null stands for zeros.
const float* start_at(const float* start, uint32_t panel) {
  return start == nullptr ? kZeros : start + static_cast<size_t>(panel) * kPanelColumns;
}

void plan_rows(Site& s) {
  each_task(s.groups, s.strip_begin, s.strips, [&](const Task& owner, const RowRange& range) {
    const LinearOperators* operators = s.operators_of(owner);
    const bool masked = operators != nullptr && operators->mask != nullptr;
    const float* start = chain_start(operators, s.weights);
    if (operators != nullptr) s.task[s.tasks++] = {operators, range};
    s.masks = s.masks || masked;
    for (uint32_t strip = range.first_strip(); strip < range.end_strip(); ++strip) {
      StripPlan& plan = s.plan[strip];
      if (masked) {
        plan.masked = static_cast<LaneMask>(plan.masked | range.lanes(strip));
        continue;
      }
      if (plan.dense != 0 && plan.start != start) plan.blended = true;
      plan.dense = static_cast<LaneMask>(plan.dense | range.lanes(strip));
      plan.start = start;
    }
  });
}

/// Sets every strip's input, scaled where a task scales it.
void set_inputs(Site& s) {
  const float* inputs[kMostBlockStrips];
  for (uint32_t strip = 0; strip < s.strips; ++strip) inputs[strip] = s.site.x + strip * s.site.x_stride;
  for (uint32_t t = 0; t < s.tasks; ++t) {
    const float* factors = s.task[t].operators->scale_input;
    if (factors == nullptr) continue;
    const RowRange& range = s.task[t].range;
    for (uint32_t strip = range.first_strip(); strip < range.end_strip(); ++strip) {
      const float* x = s.site.x + strip * s.site.x_stride;
      float* scaled = s.scratch.scaled_input + strip * s.scratch.scaled_stride;
      if (inputs[strip] == x) s.kernels.blend(x, s.weights.in, kernels::kAllLanes, scaled);
      inputs[strip] = scaled;
      s.kernels.scale_features(x, factors, s.weights.in, range.lanes(strip), scaled);
    }
  }
  for (uint32_t strip = 0; strip < s.strips; ++strip) {
    const bool unchanged = s.site.same_input && inputs[strip] == s.site.x + strip * s.site.x_stride;
    s.linear.set_input(strip, inputs[strip], unchanged);
  }
}

/// Z = X'A of every low-rank task, each in its own rows.
void project_low_rank(const Site& s) {
  for (uint32_t t = 0; t < s.tasks; ++t) {
    const auto& [operators, range] = s.task[t];
    if (operators->rank == 0) continue;
    LinearWeights factor;
    factor.panels = operators->low_rank_a;
    factor.out = operators->rank;
    factor.in = s.weights.in;
    const size_t stride = s.scratch.low_rank_stride;
    for (uint32_t strip = range.first_strip(), run = 0; strip < range.end_strip(); strip += run) {
      run = s.linear.float_neighbours(strip, range.end_strip());
      float* projected = s.scratch.low_rank_temporary;
      apply_plain_linear(s.kernels, factor, {s.linear.input(strip), s.site.x_stride}, {projected, stride}, run);
      for (uint32_t i = 0; i < run; ++i) {
        s.kernels.blend(projected + i * stride, operators->rank, range.lanes(strip + i), s.scratch.low_rank + (strip + i) * stride);
      }
    }
  }
}

/// Lays each task's own start into its rows of a strip's tile.
void blend_starts(const Site& s, uint32_t strip, uint32_t panel) {
  for (const RowSegment& segment : s.groups.of(s.strip_begin + strip)) {
    const float* start = start_at(chain_start(s.operators_of(*segment.task), s.weights), panel);
    s.kernels.broadcast(start, s.width(panel), segment.lanes, s.tile(strip, panel));
  }
}

/// The dense chains of a strip that masked rows share, which wait in its tile meanwhile.
void apply_dense_beside_masks(const Site& s, uint32_t strip, const float* start, const PanelCall& call) {
  alignas(64) float chains[kernels::kMostDotPanels * kPanelColumns * kStripRows];
  float* const tile = s.tile(strip, call.panel);
  const uint32_t width = panel_columns(s.weights, call);
  if (start == nullptr) s.kernels.blend(tile, width, kernels::kAllLanes, chains);
  s.linear.dense(call, strip, 1, &start, chains, 0, s.plan[strip].dense);
  s.kernels.blend(chains, width, s.plan[strip].dense, tile);
}

/// The dense chains of the call's panels. Strips that lie one after another go to the kernel together.
void apply_dense(const Site& s, const PanelCall& call) {
  const float* starts[kMostBlockStrips];
  for (uint32_t strip = 0; strip < s.strips; ++strip) {
    const StripPlan& plan = s.plan[strip];
    if (plan.dense == 0) continue;
    if (call.part.first && plan.blended) {
      for (uint32_t i = 0; i < call.panels; ++i) blend_starts(s, strip, call.panel + i);
    }
    starts[strip] = !call.part.first || plan.blended ? nullptr : start_at(plan.start, call.panel);
  }
  for (uint32_t first = 0, end = 0; first < s.strips; first = end) {
    end = first + 1;
    if (s.plan[first].dense == 0) continue;
    if (s.plan[first].masked != 0) {
      apply_dense_beside_masks(s, first, starts[first], call);
      continue;
    }
    while (end < s.strips && s.plan[end].dense != 0 && s.plan[end].masked == 0) ++end;
    end = first + s.linear.neighbours(first, end);
    s.linear.dense(call, first, end - first, starts + first, s.tile(first, call.panel), s.y_stride, s.plan[end - 1].dense);
  }
}

/// The chains of a task's masked weights over its rows, all panels. Where the strips have other rows too, the chains are computed in strips
/// of the task's own. As many panels go to the kernel as it takes and as these strips have room for: it makes the masked weights of each
/// while it multiplies by those of the one before.
void apply_mask(const Site& s, const SiteTask& task, PanelCall call) {
  const RowRange& range = task.range;
  constexpr uint32_t kOwnTiles = 6 * kMostBlockStrips;
  alignas(64) float own[kOwnTiles * kPanelColumns * kStripRows];
  const RowInputs inputs = s.linear.inputs_of(range, call.part, s.scratch.own_input, s.scratch.own_stride);
  bool in_place = range.first % kStripRows == 0;
  for (uint32_t strip = range.first_strip(); strip < range.end_strip(); ++strip) {
    const StripPlan& plan = s.plan[strip];
    in_place = in_place && plan.dense == 0 && plan.masked == range.lanes(strip);
  }
  const float* start = chain_start(task.operators, s.weights);
  const uint32_t room = in_place ? call.panel_end - call.panel : kOwnTiles / range.own_strips();
  // There are zeros to start from for one panel only.
  const uint32_t most = call.part.first && start == nullptr ? 1 : std::min(room, s.linear.most_masked_panels());
  for (const uint32_t end = call.panel_end; call.panel < end; call.panel += call.panels) {
    call.panels = std::min(most, end - call.panel);
    const float* first_start = call.part.first ? start_at(start, call.panel) : nullptr;
    if (in_place) {
      s.linear.masked(call, inputs, task.operators->mask, first_start, s.tile(range.first_strip(), call.panel), s.y_stride);
      continue;
    }
    const uint32_t width = panel_columns(s.weights, call);
    const size_t own_stride = static_cast<size_t>(call.panels) * kPanelColumns * kStripRows;
    if (first_start == nullptr) gather_rows(s.kernels, range, width, s.tile(0, call.panel), s.y_stride, own, own_stride);
    s.linear.masked(call, inputs, task.operators->mask, first_start, own, own_stride);
    scatter_rows(s.kernels, range, width, own, own_stride, s.tile(0, call.panel), s.y_stride);
  }
}

/// A task's sparse deltas in one panel.
void apply_sparse(const Site& s, const SiteTask& task, uint32_t panel) {
  const uint32_t first = task.range.first_strip();
  const float* x[kMostBlockStrips];
  LaneMask lanes[kMostBlockStrips];
  kernels::SparseTile call;
  call.strips = task.range.end_strip() - first;
  for (uint32_t i = 0; i < call.strips; ++i) {
    x[i] = s.linear.input(first + i);
    lanes[i] = task.range.lanes(first + i);
  }
  call.x = x;
  call.lanes = lanes;
  call.column_start = task.operators->sparse_column_start + static_cast<size_t>(panel) * kPanelColumns;
  call.rows = task.operators->sparse_rows;
  call.values = task.operators->sparse_values;
  call.width = s.width(panel);
  call.y = s.tile(first, panel);
  call.y_stride = s.y_stride;
  s.kernels.sparse_tile(call);
}

/// A task's second low-rank factor in one panel: the chains go on over Z. Strips that are all the task's go to the kernel together.
void apply_low_rank(const Site& s, const SiteTask& task, uint32_t panel) {
  const RowRange& range = task.range;
  const uint32_t rank = task.operators->rank;
  const float* const factor = task.operators->low_rank_b + kernels::panel_offset(rank, panel);
  const auto projected = [&s](uint32_t strip) { return s.scratch.low_rank + strip * s.scratch.low_rank_stride; };
  uint32_t whole = 0;
  for (uint32_t strip = range.first_strip(); strip < range.end_strip(); strip += std::max(whole, 1U)) {
    for (whole = 0; strip + whole < range.end_strip() && range.lanes(strip + whole) == kernels::kAllLanes;) ++whole;
    if (whole == 0) {
      s.kernels.linear_continue({projected(strip), factor, rank, s.width(panel), range.lanes(strip), s.tile(strip, panel)});
      continue;
    }
    static constexpr const float* kGoOn[kMostBlockStrips] = {};
    kernels::LinearPanel call;
    call.x = projected(strip);
    call.x_stride = s.scratch.low_rank_stride;
    call.y = s.tile(strip, panel);
    call.y_stride = s.y_stride;
    call.panel = factor;
    call.width = s.width(panel);
    call.k = rank;
    call.bias = kGoOn;
    call.strips = whole;
    s.kernels.linear_panel(call);
  }
}

/// Everything of one task that follows the dense or masked chains of one panel.
void apply_operators(const Site& s, const SiteTask& task, uint32_t panel) {
  const LinearOperators& op = *task.operators;
  const RowRange& range = task.range;
  if (op.rank != 0) apply_low_rank(s, task, panel);
  if (op.sparse_values != nullptr) apply_sparse(s, task, panel);
  if (op.scale_output == nullptr) return;
  const size_t column = static_cast<size_t>(panel) * kPanelColumns;
  const float* bias = op.bias != nullptr ? op.bias : s.weights.bias;
  if (bias != nullptr) bias += column;
  for (uint32_t strip = range.first_strip(); strip < range.end_strip(); ++strip) {
    s.kernels.scale_bias(op.scale_output + column, bias, s.width(panel), range.lanes(strip), s.tile(strip, panel));
  }
}

/// What follows the chains of neighbouring panels once all inputs are in: operators, activation, and rounding where the outputs are kept in
/// bfloat16. Words of a row side by side are never more than a call's panels fill, so that these are one piece of a strip.
void finish_panels(const Site& s, uint32_t panel, uint32_t panels) {
  for (uint32_t i = 0; i < panels; ++i) {
    for (uint32_t t = 0; t < s.tasks; ++t) apply_operators(s, s.task[t], panel + i);
  }
  const uint32_t width = std::min(s.weights.out - panel * kPanelColumns, panels * kPanelColumns);
  const RoundedOutput* const out = s.site.rounded_y;
  const size_t begin = kernels::bfloat_feature_bytes(static_cast<size_t>(panel) * kPanelColumns);
  for (uint32_t strip = 0; strip < s.strips; ++strip) {
    float* const tile = s.tile(strip, panel);
    if (s.site.activation != kernels::Activation::kNone) s.kernels.activate(s.site.activation, tile, width, tile);
    if (out == nullptr) continue;
    std::byte* const to = out->bytes + strip * out->stride + begin;
    if (out->round != nullptr) {
      out->round(tile, width, reinterpret_cast<uint16_t*>(to));
    } else {
      s.kernels.dots.convert_strip(kernels::WeightType::kBFloat16, tile, width, to, nullptr);
    }
  }
}

}  // namespace

bool passes_converted(const RowGroups& groups, uint32_t strip_begin, uint32_t strips, uint32_t layer, LinearIndex from, LinearIndex to) {
  bool passes = true;
  each_task(groups, strip_begin, strips, [&](const Task& owner, const RowRange&) {
    const LinearOperators* const* linear = owner.weights.layer[layer].linear;
    if (linear[from] != nullptr && linear[from]->mask != nullptr) passes = false;
    if (linear[to] != nullptr && linear[to]->reads_floats()) passes = false;
  });
  return passes;
}

void apply_linear(const kernels::KernelTable& kernels, const LinearSite& site, const RowGroups& groups, uint32_t strip_begin,
                  uint32_t strips, uint32_t panel_begin, uint32_t panel_end, const LinearScratch& scratch) {
  Site s(kernels, site, groups, strip_begin, strips, scratch);
  plan_rows(s);
  set_inputs(s);
  project_low_rank(s);
  const bool rounded = site.rounded_y != nullptr;  // then there is one part
  if (rounded && s.masks) s.first_panel = panel_begin;
  if (rounded && !s.masks) s.y_stride = static_cast<size_t>(s.linear.most_panels()) * kPanelColumns * kStripRows;
  s.linear.each_part([&](const InputPart& part) {
    // Where there are masks, their tasks take turns over all panels: gathered inputs are one task's.
    const bool finish_with_call = part.last && !s.masks;
    PanelCall call{panel_begin, panel_end, 1, part, site.then};
    if (!part.last) call.then = s.linear.panel_at(panel_begin, {part.begin + part.count, 0, false, false});
    for (; call.panel < panel_end; call.panel += call.panels) {
      call.panels = std::min(s.linear.most_panels(), panel_end - call.panel);
      if (rounded && !s.masks) s.first_panel = call.panel;
      apply_dense(s, call);
      if (finish_with_call) finish_panels(s, call.panel, call.panels);
    }
    if (!s.masks) return;
    call.panel = panel_begin;
    call.panels = 1;
    for (uint32_t t = 0; t < s.tasks; ++t) {
      if (s.task[t].operators->mask != nullptr) apply_mask(s, s.task[t], call);
    }
    if (part.last) finish_panels(s, panel_begin, panel_end - panel_begin);
  });
}

void apply_plain_linear(const kernels::KernelTable& kernels, const LinearWeights& weights, Strips<const float> x, Strips<float> y,
                        uint32_t strips) {
  const float* starts[kMostBlockStrips];
  for (uint32_t panel = 0; panel < kernels::panel_count(weights.out); ++panel) {
    std::fill_n(starts, strips, start_at(weights.bias, panel));
    kernels::LinearPanel call = weights.panel(panel);
    call.x = x.first;
    call.x_stride = x.stride;
    call.y = y.first + static_cast<size_t>(panel) * kPanelColumns * kStripRows;
    call.y_stride = y.stride;
    call.bias = starts;
    call.strips = strips;
    kernels.linear_panel(call);
  }
}

}  // namespace pets::engine
