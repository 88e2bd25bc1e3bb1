#include "runtime/engine/shared_linear.h"

#include <bit>

#include "kernels/gemm/panel_layout.h"

namespace pets::engine {

using kernels::kPanelColumns;
using kernels::kStripRows;

void SharedLinear::set_input(uint32_t strip, const float* x, bool unchanged) {
  x_[strip] = x;
  if (!dot_products() || converted_.source == nullptr || (unchanged && converted_.source[strip] == x)) return;
  converted_.source[strip] = x;
  kernels_.dots.convert_strip(weights_.type, x, weights_.in, converted_.bytes + strip * converted_.stride,
                              converted_.row_scale + strip * kStripRows);
}

const void* SharedLinear::panel_at(uint32_t panel, const InputPart& part) const {
  const kernels::LinearPanel whole = weights_.panel(panel);
  return static_cast<const std::byte*>(whole.panel) + part.begin * whole.width * kernels::weight_bytes(weights_.type);
}

kernels::DotPanel SharedLinear::dot_call(const PanelCall& call) const {
  kernels::DotPanel dot;
  dot.type = weights_.type;
  dot.panel = panel_at(call.panel, call.part);
  if (weights_.scale != nullptr) dot.w_scale = weights_.scale + static_cast<size_t>(call.panel) * kPanelColumns;
  dot.width = panel_columns(weights_, call);
  dot.k = weights_.in;
  dot.prefetch = next_panel(call);
  return dot;
}

void SharedLinear::dense(const PanelCall& call, uint32_t first, uint32_t run, const float* const* starts, float* y, size_t y_stride,
                         kernels::LaneMask rows) const {
  const auto last_rows = static_cast<uint32_t>(std::bit_width(static_cast<unsigned>(rows)));
  if (dot_products()) {
    kernels::DotPanel dot = dot_call(call);
    dot.x = converted_.bytes + first * converted_.stride;
    dot.x_stride = converted_.stride;
    dot.x_scale = converted_.row_scale + first * kStripRows;
    dot.y = y;
    dot.y_stride = y_stride;
    dot.bias = starts;
    dot.strips = run;
    dot.rows = last_rows;
    return kernels_.dots.dot_panel(dot);
  }
  kernels::LinearPanel linear = weights_.panel(call.panel);
  linear.panel = panel_at(call.panel, call.part);
  linear.k = call.part.count;
  linear.x = x_[first] + call.part.begin * kStripRows;
  linear.x_stride = x_stride_;
  linear.y = y;
  linear.y_stride = y_stride;
  linear.bias = starts;
  linear.strips = run;
  linear.rows = last_rows;
  linear.prefetch = next_panel(call);
  kernels_.linear_panel(linear);
}

RowInputs SharedLinear::inputs_of(const RowRange& range, const InputPart& part, float* own, size_t own_stride) const {
  RowInputs inputs;
  inputs.rows = range.rows;
  const uint32_t first = range.first_strip(), end = range.end_strip();
  const bool in_place = range.first % kStripRows == 0 && neighbours(first, end) == end - first;
  if (dot_products()) {
    const auto* strips = reinterpret_cast<const float*>(converted_.bytes);
    inputs.x_stride = converted_.stride / sizeof(float);
    inputs.x = strips + first * inputs.x_stride;
    inputs.x_scale = converted_.row_scale + range.first;
    if (in_place) return inputs;
    const size_t words = kernels::converted_strip_bytes(weights_.type, weights_.in) / (kStripRows * sizeof(float));
    const uint32_t row_words = kernels_.dots.row_words;
    if (row_words == 1) {
      gather_rows(kernels_, range, words, strips, inputs.x_stride, own, own_stride);
    } else {
      gather_rows_of_words(range, row_words, words / row_words, strips, inputs.x_stride, own, own_stride);
    }
  } else {
    inputs.x_stride = x_stride_;
    inputs.x = x_[first] + part.begin * kStripRows;
    if (in_place) return inputs;
    const float* x[kMostBlockStrips] = {};
    for (uint32_t strip = first; strip < end; ++strip) x[strip] = x_[strip] + part.begin * kStripRows;
    gather_rows(kernels_, range, part.count, x, own, own_stride);
  }
  inputs.x = own;
  inputs.x_stride = own_stride;
  return inputs;
}

void SharedLinear::masked(const PanelCall& call, const RowInputs& inputs, const uint32_t* planes, const float* start, float* y,
                          size_t y_stride) const {
  const size_t words = kernels::bit_plane_words(weights_.in);
  const uint32_t* const own = planes + call.panel * words + kernels::bit_plane_words(call.part.begin);
  if (dot_products()) {
    const float* starts[kMostBlockStrips];
    std::fill_n(starts, kMostBlockStrips, start);
    kernels::DotPanel dot = dot_call(call);
    dot.x = inputs.x;
    dot.x_stride = inputs.x_stride * sizeof(float);
    dot.x_scale = inputs.x_scale;
    dot.y = y;
    dot.y_stride = y_stride;
    dot.bias = starts;
    dot.strips = strip_count(inputs.rows);
    dot.rows = inputs.rows - (dot.strips - 1) * kStripRows;
    dot.planes = own;
    return kernels_.dots.dot_panel(dot);
  }
  kernels::MaskedPanel masked;
  masked.x = inputs.x;
  masked.x_stride = inputs.x_stride;
  masked.rows = inputs.rows;
  masked.y = y;
  masked.y_stride = y_stride;
  masked.panel = panel_at(call.panel, call.part);
  masked.type = weights_.type;
  masked.panels = call.panels;
  masked.width = kernels::panel_width(weights_.out, call.panel + call.panels - 1);
  masked.k = call.part.count;
  masked.planes = own;
  masked.bias = start;
  masked.prefetch = next_panel(call);
  if (call.panel + call.panels < call.panel_end) masked.prefetch_planes = own + call.panels * words;
  kernels_.masked_panel(masked);
}

}  // namespace pets::engine
