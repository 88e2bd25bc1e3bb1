#include "kernels/bottleneck/bottleneck.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

/// The strips of one call, and what they are computed with.
struct Strips {
  const KernelTable& table;
  size_t hidden;
  uint32_t rows;
  uint32_t count = (rows + kStripRows - 1) / kStripRows;

  /// y = x W + b; a null bias is zero. `then`: the weights that are read next, or null.
  void linear(const float* panels, const float* bias, size_t in, size_t out, const float* x, float* y, const float* then) const {
    static constexpr float kZeros[kPanelColumns] = {};
    for (size_t p = 0; p < panel_count(out); ++p) {
      const float* starts[kBottleneckStrips];
      for (const float*& start : starts) start = bias ? bias + p * kPanelColumns : kZeros;
      LinearPanel a;
      a.x = x;
      a.x_stride = in * kStripRows;
      a.y = y + p * kPanelColumns * kStripRows;
      a.y_stride = out * kStripRows;
      a.panel = panels + panel_offset(in, p);
      a.width = panel_width(out, p);
      a.k = in;
      a.bias = starts;
      a.strips = count;
      a.rows = rows - (count - 1) * kStripRows;
      a.prefetch = p + 1 < panel_count(out) ? panels + panel_offset(in, p + 1) : then;
      table.linear_panel(a);
    }
  }
  void normalize(const NormParameters& norm, const float* a, const float* b, float* y) const {
    const NormSegment segment{kAllLanes, norm.gamma, norm.beta};
    for (size_t s = 0; s < count; ++s) {
      const size_t at = s * hidden * kStripRows;
      table.layer_norm({a + at, b ? b + at : nullptr, hidden, norm.epsilon, &segment, 1, y + at});
    }
  }
  void add(const float* a, const float* b, float* y) const { table.add(a, b, count * hidden, y); }
};

}  // namespace

void apply_bottleneck(const KernelTable& table, const Bottleneck& b, const NormParameters& norm, size_t hidden, uint32_t rows,
                      const float* h, const float* r, float* scratch, float* y) {
  const Strips all{table, hidden, rows};
  const size_t strips = all.count;
  const size_t floats = strips * hidden * kStripRows;
  float* const input = scratch;               // u, then d where that is h + r
  float* const normalized = input + floats;   // LN(u)
  float* const result = normalized + floats;  // a, later o
  float* const inner = result + floats;

  const float* u = b.parallel ? r : h;
  if (!b.parallel && b.original_norm_before) {
    all.normalize(norm, h, r, input);
    u = input;
  }
  const float* down_input = u;
  if (b.norm_before.gamma) {
    all.normalize(b.norm_before, u, nullptr, normalized);
    down_input = normalized;
  }
  all.linear(b.down, b.down_bias, hidden, b.inner, down_input, inner, b.up);
  table.activate(b.activation, inner, strips * b.inner, inner);
  all.linear(b.up, b.up_bias, b.inner, hidden, inner, result, nullptr);
  if (b.channel_scaling) {
    for (float* strip = result; strip < result + floats; strip += hidden * kStripRows) {
      table.scale_features(strip, b.channel_scaling, hidden, kAllLanes, strip);
    }
  } else if (b.scaling != 1) {
    table.scale(result, b.scaling, strips * hidden, result);
  }

  const float* d = u;
  if (b.parallel || b.residual_before_norm == ResidualBeforeNorm::kBase) {
    d = h;
  } else if (b.residual_before_norm == ResidualBeforeNorm::kPostAdd) {
    all.add(h, r, input);
    d = input;
  }
  const bool norm_of_sum = !b.parallel && b.adapter_residual_before_norm && b.norm_after.gamma;
  float* const sum = b.original_norm_after ? result : y;
  if (norm_of_sum) {
    all.normalize(b.norm_after, result, d, sum);
  } else {
    if (b.norm_after.gamma) all.normalize(b.norm_after, result, nullptr, result);
    all.add(result, d, sum);
  }
  if (b.original_norm_after) all.normalize(norm, result, r, y);
}

}  // namespace pets::kernels
