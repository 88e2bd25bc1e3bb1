#include <cmath>

#include "kernels/gemm/linear.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void linear_panel(const LinearPanel& a) {
  const auto weight = [&a](size_t i) {
    return a.type == WeightType::kFloat32 ? static_cast<const float*>(a.panel)[i]
                                          : float_from_half(static_cast<const uint16_t*>(a.panel)[i]);
  };
  for (uint32_t s = 0; s < a.strips; ++s) {
    const float* x = a.x + s * a.x_stride;
    for (uint32_t c = 0; c < a.width; ++c) {
      for (uint32_t row = 0; row < kStripRows; ++row) {
        float& y = a.y[s * a.y_stride + c * kStripRows + row];
        if (a.bias[s]) y = a.bias[s][c];
        for (size_t k = 0; k < a.k; ++k) y = std::fma(x[k * kStripRows + row], weight(k * a.width + c), y);
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
