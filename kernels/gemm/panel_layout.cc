#include "kernels/gemm/panel_layout.h"

#include <algorithm>
#include <bit>
#include <cmath>

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

/// The same for panels whose inputs lie in groups; inputs beyond `in` are given as kNoInput.
constexpr size_t kNoInput = ~size_t{0};
template <class Copy>
void each_grouped_value(WeightType type, size_t out, size_t in, Copy copy) {
  const size_t group = input_group(type), padded = padded_inputs(type, in);
  for (size_t panel = 0; panel < panel_count(out); ++panel) {
    const uint32_t width = panel_width(out, panel);
    size_t to = panel_offset(padded, panel);
    for (size_t first = 0; first < padded; first += group) {
      for (uint32_t c = 0; c < width; ++c) {
        for (size_t k = first; k < first + group; ++k) copy(panel * kPanelColumns + c, k < in ? k : kNoInput, to++);
      }
    }
  }
}

/// Of one output, [in]. In double, where no sum overflows. Both of a pair rounded up add 1 at most: below 128 steps before, at most 128
/// after, and the 0.01 is far more than scale and quotient lose by their own roundings.
float int8_scale(const float* weight, size_t in) {
  double step = 0;
  for (size_t k = 0; k < in; ++k) {
    const double value = weight[k];
    step = std::max(step, std::fabs(value) / 127);
    if (k % 2 != 0) step = std::max(step, std::fabs(value + weight[k - 1]) / 127.99);
  }
  return static_cast<float>(step);
}

int8_t int8_from_float(float weight, float scale) {
  // A scale below the normal range would lose its own precision; such an output is nothing but zeros to a float32 sum.
  const float value = scale < 1.2e-38F ? 0 : std::nearbyint(weight / scale);
  return static_cast<int8_t>(std::clamp(value, -127.0F, 127.0F));
}

}  // namespace

void pack_panels16(const float* weight, size_t out, size_t in, float* panels) {
  each_value(out, in, [=](size_t from, size_t to) { panels[to] = weight[from]; });
}

void pack_panels16_half(const float* weight, size_t out, size_t in, uint16_t* panels) {
  each_value(out, in, [=](size_t from, size_t to) { panels[to] = half_from_float(weight[from]); });
}

void pack_panels16_bfloat(const float* weight, size_t out, size_t in, uint16_t* panels) {
  each_grouped_value(WeightType::kBFloat16, out, in, [=](size_t row, size_t k, size_t to) {
    panels[to] = k == kNoInput ? uint16_t{0} : bfloat_from_float(weight[row * in + k]);
  });
}

void pack_panels16_bits(WeightType type, const uint16_t* weight, size_t out, size_t in, uint16_t* panels) {
  each_grouped_value(type, out, in,
                     [=](size_t row, size_t k, size_t to) { panels[to] = k == kNoInput ? uint16_t{0} : weight[row * in + k]; });
}

void pack_panels16_int8(const float* weight, size_t out, size_t in, int8_t* panels, float* scale) {
  for (size_t o = 0; o < out; ++o) scale[o] = int8_scale(weight + o * in, in);
  each_grouped_value(WeightType::kInt8, out, in, [=](size_t row, size_t k, size_t to) {
    panels[to] = k == kNoInput ? int8_t{0} : int8_from_float(weight[row * in + k], scale[row]);
  });
}

void pack_rows_int8(const float* weight, size_t out, size_t in, int8_t* rows, float* scale) {
  for (size_t o = 0; o < out; ++o) {
    scale[o] = int8_scale(weight + o * in, in);
    for (size_t k = o * in; k < (o + 1) * in; ++k) rows[k] = int8_from_float(weight[k], scale[o]);
  }
}

void pack_panels16_bytes(const int8_t* rows, size_t out, size_t in, int8_t* panels) {
  each_grouped_value(WeightType::kInt8, out, in,
                     [=](size_t row, size_t k, size_t to) { panels[to] = k == kNoInput ? int8_t{0} : rows[row * in + k]; });
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

uint16_t bfloat_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN, made quiet
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);                 // a carry may reach infinity
}

float float_from_bfloat(uint16_t bfloat) { return std::bit_cast<float>(uint32_t{bfloat} << 16); }

}  // namespace pets::kernels
