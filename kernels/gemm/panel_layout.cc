#include "kernels/gemm/panel_layout.h"

#include <bit>

namespace pets::kernels {
namespace {

/// Calls copy(index in the row-major weight, index in the panels) for every value, in the order of the panels.
template <class Copy>
void each_value(size_t out, size_t in, Copy copy) {
  for (size_t panel = 0; panel < panel_count(out); ++panel) {
    const uint32_t width = panel_width(out, panel);
    size_t to = panel_offset(in, panel);
    for (size_t k = 0; k < in; ++k) {
      for (uint32_t c = 0; c < width; ++c) copy((panel * kPanelColumns + c) * in + k, to++);
    }
  }
}

}  // namespace

void pack_panels16(const float* weight, size_t out, size_t in, float* panels) {
  each_value(out, in, [=](size_t from, size_t to) { panels[to] = weight[from]; });
}

void pack_panels16_half(const float* weight, size_t out, size_t in, uint16_t* panels) {
  each_value(out, in, [=](size_t from, size_t to) { panels[to] = half_from_float(weight[from]); });
}

void unpack_panels16(const float* panels, size_t out, size_t in, float* weight) {
  each_value(out, in, [=](size_t from, size_t to) { weight[from] = panels[to]; });
}

uint16_t half_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));  // NaN, made quiet
  if (magnitude >= 0x47800000) return static_cast<uint16_t>(sign | 0x7C00);                             // 2^16 and more, infinity
  if (magnitude < 0x38800000) {  // below 2^-14: a multiple of 2^-24, which this sum rounds to
    const uint32_t sum = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
    return static_cast<uint16_t>(sign | (sum - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t even = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | ((magnitude - (112u << 23) + 0xFFF + even) >> 13));  // a carry may reach infinity
}

float float_from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1F;
  const uint32_t fraction = half & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 0xFF : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

}  // namespace pets::kernels
