#include <cmath>

#include "kernels/gemm/linear.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

float weight_at(WeightType type, const void* panel, uint32_t width, size_t k, uint32_t column) {
  switch (type) {
    case WeightType::kBFloat16:
      return float_from_bfloat(static_cast<const uint16_t*>(panel)[(k / 2 * width + column) * 2 + k % 2]);
    case WeightType::kFloat16:
      return float_from_half(static_cast<const uint16_t*>(panel)[k * width + column]);
    default:
      return static_cast<const float*>(panel)[k * width + column];
  }
}

void linear_panel(const LinearPanel& a) {
  for (uint32_t s = 0; s < a.strips; ++s) {
    const float* x = a.x + s * a.x_stride;
    for (uint32_t c = 0; c < a.width; ++c) {
      for (uint32_t row = 0; row < kStripRows; ++row) {
        float& y = a.y[s * a.y_stride + c * kStripRows + row];
        if (a.bias[s]) y = a.bias[s][c];
        for (size_t k = 0; k < a.k; ++k) y = std::fma(x[k * kStripRows + row], weight_at(a.type, a.panel, a.width, k, c), y);
      }
    }
  }
}

void linear_continue(const LinearContinue& a) {
  for (uint32_t c = 0; c < a.width; ++c) {
    for (uint32_t row = 0; row < kStripRows; ++row) {
      if (!has_row(a.lanes, row)) continue;
      float& y = a.y[c * kStripRows + row];
      for (size_t k = 0; k < a.k; ++k) y = std::fma(a.x[k * kStripRows + row], a.panel[k * a.width + c], y);
    }
  }
}

}  // namespace pets::kernels::reference
