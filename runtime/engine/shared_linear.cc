#include "runtime/engine/shared_linear.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::engine {

using kernels::kPanelColumns;
using kernels::kStripRows;

void SharedLinear::set_input(uint32_t strip, const float* x) {
  x_[strip] = x;
  if (!dot_products()) return;
  kernels_.convert_strip(weights_.type, x, weights_.in, converted_.bytes + strip * converted_.stride,
                         converted_.row_scale + strip * kStripRows);
}

const void* SharedLinear::panel_at(uint32_t panel, const InputPart& part) const {
  const kernels::LinearPanel whole = weights_.panel(panel);
  return static_cast<const std::byte*>(whole.panel) + part.begin * whole.width * kernels::weight_bytes(weights_.type);
}

kernels::DotPanel SharedLinear::dot_call(const PanelCall& call, const float* const* starts) const {
  kernels::DotPanel dot;
  dot.type = weights_.type;
  dot.x = converted_.bytes + call.first * converted_.stride;
  dot.x_stride = converted_.stride;
  dot.x_scale = converted_.row_scale + call.first * kStripRows;
  dot.y = call.tile + call.first * y_stride_;
  dot.y_stride = y_stride_;
  dot.panel = panel_at(call.panel, call.part);
  if (weights_.scale != nullptr) dot.w_scale = weights_.scale + static_cast<size_t>(call.panel) * kPanelColumns;
  dot.width = kernels::panel_width(weights_.out, call.panel);
  dot.k = weights_.in;
  dot.bias = starts;
  dot.strips = call.run;
  dot.prefetch = next_panel(call);
  return dot;
}

void SharedLinear::dense(const PanelCall& call, const float* const* starts) const {
  if (dot_products()) return kernels_.dot_panel(dot_call(call, starts));
  kernels::LinearPanel linear = weights_.panel(call.panel);
  linear.panel = panel_at(call.panel, call.part);
  linear.k = call.part.count;
  linear.x = x_[call.first] + call.part.begin * kStripRows;
  linear.x_stride = x_stride_;
  linear.y = call.tile + call.first * y_stride_;
  linear.y_stride = y_stride_;
  linear.bias = starts;
  linear.strips = call.run;
  linear.prefetch = next_panel(call);
  kernels_.linear_panel(linear);
}

void SharedLinear::masked(const PanelCall& call, const uint32_t* planes, const float* start, kernels::LaneMask lanes) const {
  const size_t words = kernels::bit_plane_words(weights_.in);
  const uint32_t* const own = planes + call.panel * words + kernels::bit_plane_words(call.part.begin);
  if (dot_products()) {
    const float* starts[kBlockStrips];
    std::fill_n(starts, call.run, start);
    kernels::DotPanel dot = dot_call(call, starts);
    dot.planes = own;
    dot.lanes = lanes;
    return kernels_.dot_panel(dot);
  }
  kernels::MaskedPanel masked;
  masked.x = x_[call.first] + call.part.begin * kStripRows;
  masked.x_stride = x_stride_;
  masked.y = call.tile + call.first * y_stride_;
  masked.y_stride = y_stride_;
  masked.panel = panel_at(call.panel, call.part);
  masked.type = weights_.type;
  masked.width = kernels::panel_width(weights_.out, call.panel);
  masked.k = call.part.count;
  masked.planes = own;
  masked.bias = start;
  masked.lanes = lanes;
  masked.strips = call.run;
  masked.prefetch = next_panel(call);
  if (masked.prefetch != nullptr) masked.prefetch_planes = own + words;
  kernels_.masked_panel(masked);
}

}  // namespace pets::engine
