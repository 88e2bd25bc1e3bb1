#include <cmath>

#include "kernels/norm/layer_norm.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void layer_norm(const LayerNorm& n) {
  for (uint32_t s = 0; s < n.segment_count; ++s) {
    const NormSegment& segment = n.segments[s];
    for (uint32_t row = 0; row < kStripRows; ++row) {
      if (!has_row(segment.lanes, row)) continue;
      const auto input = [&n, row](size_t f) {
        const size_t i = f * kStripRows + row;
        return static_cast<double>(n.b ? n.a[i] + n.b[i] : n.a[i]);
      };
      double sum = 0, squares = 0;
      for (size_t f = 0; f < n.hidden; ++f) sum += input(f);
      const double mean = sum / static_cast<double>(n.hidden);
      for (size_t f = 0; f < n.hidden; ++f) squares += (input(f) - mean) * (input(f) - mean);
      const double deviation = std::sqrt(squares / static_cast<double>(n.hidden) + static_cast<double>(n.epsilon));
      for (size_t f = 0; f < n.hidden; ++f) {
        const double y = (input(f) - mean) / deviation * static_cast<double>(segment.gamma[f]) + static_cast<double>(segment.beta[f]);
        n.y[f * kStripRows + row] = static_cast<float>(y);
      }
    }
  }
}

}  // namespace pets::kernels::reference
