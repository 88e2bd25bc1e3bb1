#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/gemm/dot.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/mask/mask.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {
namespace {

// Converted strips of this reference: [ceil(k / group)][16][group] of uint16_t (bfloat16) or int8_t.
void convert_int8(const float* x, size_t k, int8_t* out, float* scale) {
  const size_t padded = padded_inputs(WeightType::kInt8, k);
  for (uint32_t row = 0; row < kStripRows; ++row) {
    float largest = 0;
    bool finite = true;
    for (size_t i = 0; i < k; ++i) {
      largest = std::max(largest, std::fabs(x[i * kStripRows + row]));
      finite = finite && std::isfinite(x[i * kStripRows + row]);
    }
    const bool zero = !finite || largest < 1e-36F;
    scale[row] = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0 : largest / 127;
    for (size_t i = 0; i < padded; ++i) {
      const float q = zero || i >= k ? 0 : std::nearbyint(x[i * kStripRows + row] * (127 / largest));
      out[(i / 4 * kStripRows + row) * 4 + i % 4] = static_cast<int8_t>(std::clamp(q, -127.0F, 127.0F));
    }
  }
}

void convert_bfloat(const float* x, size_t k, uint16_t* out) {
  for (size_t i = 0; i < padded_inputs(WeightType::kBFloat16, k); ++i) {
    for (uint32_t row = 0; row < kStripRows; ++row) {
      out[(i / 2 * kStripRows + row) * 2 + i % 2] = i < k ? bfloat_from_float(x[i * kStripRows + row]) : uint16_t{0};
    }
  }
}

bool kept(const DotPanel& a, size_t k, uint32_t column) {
  if (a.planes == nullptr) return true;
  const uint32_t* const panel = a.planes + column / kPanelColumns * bit_plane_words(a.k);
  return (panel[k / 32 * kPanelColumns + column % kPanelColumns] >> (31 - k % 32) & 1) != 0;
}

}  // namespace

void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale) {
  if (type == WeightType::kInt8) {
    convert_int8(x, k, static_cast<int8_t*>(out), scale);
  } else {
    convert_bfloat(x, k, static_cast<uint16_t*>(out));
  }
}

void dot_panel(const DotPanel& a) {
  const size_t group = input_group(a.type);
  for (uint32_t s = 0; s < a.strips; ++s) {
    const auto* x = static_cast<const char*>(a.x) + s * a.x_stride;
    for (uint32_t c = 0; c < a.width; ++c) {
      const size_t panel = panel_offset(padded_inputs(a.type, a.k), c / kPanelColumns), width = panel_width(a.width, c / kPanelColumns);
      for (uint32_t row = 0; row < kStripRows; ++row) {
        float& y = a.y[s * a.y_stride + c * kStripRows + row];
        const float init = a.bias[s] != nullptr ? a.bias[s][c] : y;
        const auto x_at = [&](size_t k) { return (k / group * kStripRows + row) * group + k % group; };
        const auto w_at = [&](size_t k) { return panel + (k / group * width + c % kPanelColumns) * group + k % group; };
        if (a.type == WeightType::kInt8) {
          const auto* q = reinterpret_cast<const int8_t*>(x);
          const auto* w = static_cast<const int8_t*>(a.panel);
          int32_t sum = 0;
          for (size_t k = 0; k < a.k; ++k) sum += kept(a, k, c) ? int32_t{q[x_at(k)]} * w[w_at(k)] : 0;
          y = std::fma(static_cast<float>(sum), a.x_scale[s * kStripRows + row] * a.w_scale[c], init);
        } else {
          const auto* q = reinterpret_cast<const uint16_t*>(x);
          const auto* w = static_cast<const uint16_t*>(a.panel);
          float sum = init;
          for (size_t k = 0; k < a.k; ++k) {
            sum = std::fma(float_from_bfloat(q[x_at(k)]), kept(a, k, c) ? float_from_bfloat(w[w_at(k)]) : 0.0F, sum);
          }
          y = sum;
        }
      }
    }
  }
}

}  // namespace pets::kernels::reference
