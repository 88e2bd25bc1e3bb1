// Host side conversion of a bundle's tensors to what kernels on the device read.
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/gemm/panel_layout.h"
#include "runtime/cuda/device.h"
#include "runtime/engine/weights.h"

namespace pets::cuda {

/// Rounded to nearest even; float stays as it is.
template <class T>
T rounded(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    const uint16_t bits = std::is_same_v<T, Half> ? kernels::half_from_float(value) : kernels::bfloat_from_float(value);
    T result;
    static_assert(sizeof result == sizeof bits);
    std::memcpy(static_cast<void*>(&result), &bits, sizeof bits);
    return result;
  }
}

/// Weights of a linear, wherever its layout has them: visit(output, input, index into `panels`), output by output.
template <class Visit>
void for_each_place(const engine::LinearWeights& linear, const Visit& visit) {
  const size_t group = kernels::input_group(linear.type), padded = kernels::padded_inputs(linear.type, linear.in);
  for (size_t o = 0; o < linear.out; ++o) {
    const size_t panel = o / kernels::kPanelColumns, column = o % kernels::kPanelColumns, width = kernels::panel_width(linear.out, panel);
    for (size_t k = 0; k < linear.in; ++k) {
      const size_t in_panels = kernels::panel_offset(padded, panel) + k / group * group * width + column * group + k % group;
      visit(o, k, linear.row_major ? o * linear.in + k : in_panels);
    }
  }
}

/// The same with the weight's value instead of its place. Not of int8, whose integers stay what they are.
template <class Visit>
void for_each_weight(const engine::LinearWeights& linear, const Visit& visit) {
  for_each_place(linear, [&](size_t o, size_t k, size_t at) {
    float value = 0;
    switch (linear.type) {
      case kernels::WeightType::kFloat16:
        value = kernels::float_from_half(static_cast<const uint16_t*>(linear.panels)[at]);
        break;
      case kernels::WeightType::kBFloat16:
        value = kernels::float_from_bfloat(static_cast<const uint16_t*>(linear.panels)[at]);
        break;
      default:
        value = static_cast<const float*>(linear.panels)[at];
    }
    visit(o, k, value);
  });
}

/// A linear's weight as [out][row_length] of T, or the integers of an int8 weight as they are; zeros behind each row's inputs.
template <class T>
void row_major(const engine::LinearWeights& linear, T* weight, size_t row_length) {
  if constexpr (std::is_same_v<T, int8_t>) {
    for_each_place(linear,
                   [&](size_t o, size_t k, size_t at) { weight[o * row_length + k] = static_cast<const int8_t*>(linear.panels)[at]; });
  } else {
    for_each_weight(linear, [&](size_t o, size_t k, float value) { weight[o * row_length + k] = rounded<T>(value); });
  }
  for (size_t o = 0; o < linear.out; ++o)
    std::memset(static_cast<void*>(weight + o * row_length + linear.in), 0, (row_length - linear.in) * sizeof(T));
}

/// A factor in float panels, [out, in], as rows of `row_length` >= in values of T, zeros behind them.
template <class T>
void panels_to_rows(const float* panels, size_t out, size_t in, T* rows, size_t row_length) {
  for (size_t o = 0; o < out; ++o) {
    const size_t panel = o / kernels::kPanelColumns, width = kernels::panel_width(out, panel);
    const float* from = panels + kernels::panel_offset(in, panel) + o % kernels::kPanelColumns;
    for (size_t k = 0; k < row_length; ++k) rows[o * row_length + k] = rounded<T>(k < in ? from[k * width] : 0.0F);
  }
}

}  // namespace pets::cuda
