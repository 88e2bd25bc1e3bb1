#include <cmath>

#include "kernels/gemm/panel_layout.h"
#include "kernels/mask/mask.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void masked_panel(const MaskedPanel& a) {
  const size_t in = padded_inputs(a.type, a.k);
  for (uint32_t p = 0; p < a.panels; ++p) {
    const uint32_t width = p + 1 == a.panels ? a.width : kPanelColumns;
    const auto* panel = static_cast<const char*>(a.panel) + panel_offset(in, p) * weight_bytes(a.type);
    const uint32_t* planes = a.planes + p * bit_plane_words(a.k);
    const auto weight = [&](size_t k, uint32_t c) {
      const bool keep = (planes[k / 32 * kPanelColumns + c] >> (31 - k % 32) & 1) != 0;
      return keep ? weight_at(a.type, panel, width, k, c) : 0.0f;
    };
    for (uint32_t row = 0; row < a.rows; ++row) {
      const uint32_t strip = row / kStripRows, lane = row % kStripRows;
      const float* x = a.x + strip * a.x_stride;
      for (uint32_t c = 0; c < width; ++c) {
        const uint32_t column = p * kPanelColumns + c;
        float& y = a.y[strip * a.y_stride + column * kStripRows + lane];
        if (a.bias) y = a.bias[column];
        for (size_t k = 0; k < a.k; ++k) y = std::fma(x[k * kStripRows + lane], weight(k, c), y);
      }
    }
  }
}

}  // namespace pets::kernels::reference
