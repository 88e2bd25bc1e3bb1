#include <cmath>

#include "kernels/mask/mask.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void masked_panel(const MaskedPanel& a) {
  const auto weight = [&a](size_t k, uint32_t c) {
    const bool keep = (a.planes[k / 32 * kPanelColumns + c] >> (31 - k % 32) & 1) != 0;
    return keep ? weight_at(a.type, a.panel, a.width, k, c) : 0.0f;
  };
  for (uint32_t row = 0; row < a.rows; ++row) {
    const uint32_t strip = row / kStripRows, lane = row % kStripRows;
    const float* x = a.x + strip * a.x_stride;
    for (uint32_t c = 0; c < a.width; ++c) {
      float& y = a.y[strip * a.y_stride + c * kStripRows + lane];
      if (a.bias) y = a.bias[c];
      for (size_t k = 0; k < a.k; ++k) y = std::fma(x[k * kStripRows + lane], weight(k, c), y);
    }
  }
}

}  // namespace pets::kernels::reference
