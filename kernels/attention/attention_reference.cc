#include <algorithm>
#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void attention_strip(const AttentionStrip& a) {
  for (uint32_t i = 0; i < a.segment_count; ++i) {
    const AttentionSegment& segment = a.segments[i];
    const auto at = [&](const float* strips, size_t stride, uint32_t j, uint32_t d) {
      const uint32_t row = segment.first_row + j;
      return strips[row / kStripRows * stride + d * kStripRows + row % kStripRows];
    };
    for (uint32_t lane = segment.lane_begin; lane < segment.lane_end; ++lane) {
      double top = -INFINITY;
      for (uint32_t j = 0; j < segment.rows; ++j) {
        float score = 0;
        for (uint32_t d = 0; d < a.head_size; ++d) score = std::fma(a.q[d * kStripRows + lane], at(a.k, a.k_stride, j, d), score);
        a.scratch[j] = score * a.scale;
        top = std::max(top, static_cast<double>(a.scratch[j]));
      }
      double sum = 0;
      for (uint32_t j = 0; j < segment.rows; ++j) sum += std::exp(static_cast<double>(a.scratch[j]) - top);
      for (uint32_t d = 0; d < a.head_size; ++d) {
        double out = 0;
        for (uint32_t j = 0; j < segment.rows; ++j) {
          out += std::exp(static_cast<double>(a.scratch[j]) - top) / sum * static_cast<double>(at(a.v, a.v_stride, j, d));
        }
        a.out[d * kStripRows + lane] = static_cast<float>(out);
      }
    }
  }
}

}  // namespace pets::kernels::reference
