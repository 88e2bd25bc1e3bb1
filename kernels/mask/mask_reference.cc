#include <cmath>

#include "kernels/gemm/panel_layout.h"
#include "kernels/mask/mask.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void masked_panel(const MaskedPanel& a) {
  const auto weight = [&a](size_t k, uint32_t c) {
    const bool keep = (a.planes[k / 32 * kPanelColumns + c] >> (31 - k % 32) & 1) != 0;
    if (!keep) return 0.0f;
    const size_t i = k * a.width + c;
    if (a.type == WeightType::kFloat32) return static_cast<const float*>(a.panel)[i];
    const auto* words = static_cast<const uint16_t*>(a.panel);
    if (a.type == WeightType::kBFloat16) return float_from_bfloat(words[(k / 2 * a.width + c) * 2 + k % 2]);
    return float_from_half(words[i]);
  };
  for (uint32_t strip = 0; strip < a.strips; ++strip) {
    const float* x = a.x + strip * a.x_stride;
    for (uint32_t c = 0; c < a.width; ++c) {
      for (uint32_t row = 0; row < kStripRows; ++row) {
        if (!has_row(a.lanes, row)) continue;
        float& y = a.y[strip * a.y_stride + c * kStripRows + row];
        if (a.bias) y = a.bias[c];
        for (size_t k = 0; k < a.k; ++k) y = std::fma(x[k * kStripRows + row], weight(k, c), y);
      }
    }
  }
}

}  // namespace pets::kernels::reference
