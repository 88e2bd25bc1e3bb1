#include "kernels/mask/mask.h"

namespace pets::kernels {

void pack_bit_planes16(const uint8_t* bits, size_t out, size_t in, uint32_t* planes) {
  const size_t row_bytes = (in + 7) / 8;
  const size_t panels = (out + kPanelColumns - 1) / kPanelColumns;
  for (size_t panel = 0; panel < panels; ++panel) {
    for (size_t first = 0; first < in; first += 32) {
      for (size_t c = 0; c < kPanelColumns; ++c) {
        const size_t column = panel * kPanelColumns + c;
        uint32_t word = 0;
        for (size_t k = first; column < out && k < in && k < first + 32; ++k) {
          const uint32_t keep = bits[column * row_bytes + k / 8] >> (k % 8) & 1u;
          word |= keep << (31 - (k - first));
        }
        *planes++ = word;
      }
    }
  }
}

}  // namespace pets::kernels
