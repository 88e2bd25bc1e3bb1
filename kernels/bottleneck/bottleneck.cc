#include "kernels/bottleneck/bottleneck.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

/// y = all panels of a linear applied to one strip; a null bias is zero.
void linear(const KernelTable& table, const float* panels, const float* bias, size_t in, size_t out, const float* x, float* y) {
  static constexpr float kZeros[kPanelColumns] = {};
  for (size_t p = 0; p < panel_count(out); ++p) {
    const float* panel_bias = bias ? bias + p * kPanelColumns : kZeros;
    LinearPanel a;
    a.x = x;
    a.y = y + p * kPanelColumns * kStripRows;
    a.panel = panels + panel_offset(in, p);
    a.width = panel_width(out, p);
    a.k = in;
    a.bias = &panel_bias;
    table.linear_panel(a);
  }
}

void normalize(const KernelTable& table, const NormParameters& norm, size_t hidden, const float* a, const float* b, LaneMask lanes,
               float* y) {
  const NormSegment segment{lanes, norm.gamma, norm.beta};
  table.layer_norm({a, b, hidden, norm.epsilon, &segment, 1, y});
}

}  // namespace

// Scratch rows outside `lanes` may hold anything: no kernel lets a lane reach another.
void bottleneck_strip(const KernelTable& table, const Bottleneck& b, const NormParameters& norm, size_t hidden, const float* h,
                      const float* r, LaneMask lanes, float* scratch, float* y) {
  const size_t strip = hidden * kStripRows;
  float* const input = scratch;              // u, then d where that is h + r
  float* const normalized = input + strip;   // LN(u), later o
  float* const result = normalized + strip;  // a
  float* const inner = result + strip;

  const float* u = b.parallel ? r : h;
  if (!b.parallel && b.original_norm_before) {
    normalize(table, norm, hidden, h, r, lanes, input);
    u = input;
  }
  const float* down_input = u;
  if (b.norm_before.gamma) {
    normalize(table, b.norm_before, hidden, u, nullptr, lanes, normalized);
    down_input = normalized;
  }
  linear(table, b.down, b.down_bias, hidden, b.inner, down_input, inner);
  table.activate(b.activation, inner, b.inner, inner);
  linear(table, b.up, b.up_bias, b.inner, hidden, inner, result);
  if (b.channel_scaling) {
    table.scale_features(result, b.channel_scaling, hidden, lanes, result);
  } else if (b.scaling != 1) {
    table.scale(result, b.scaling, hidden, result);
  }

  const float* d = u;
  if (b.parallel || b.residual_before_norm == ResidualBeforeNorm::kBase) {
    d = h;
  } else if (b.residual_before_norm == ResidualBeforeNorm::kPostAdd) {
    table.add(h, r, hidden, input);
    d = input;
  }
  const bool norm_of_sum = !b.parallel && b.adapter_residual_before_norm && b.norm_after.gamma;
  if (norm_of_sum) {
    normalize(table, b.norm_after, hidden, result, d, lanes, result);
  } else {
    if (b.norm_after.gamma) normalize(table, b.norm_after, hidden, result, nullptr, lanes, result);
    table.add(result, d, hidden, result);
  }
  if (b.original_norm_after) {
    normalize(table, norm, hidden, result, r, lanes, y);
  } else {
    table.blend(result, hidden, lanes, y);
  }
}

}  // namespace pets::kernels
