#include "kernels/pooling/pooling.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void pool_rows(const PoolRows& p) {
  for (size_t f = 0; f < p.features; ++f) {
    const auto at = [&p, f](uint32_t row) { return p.x[row / kStripRows * p.x_stride + f * kStripRows + row % kStripRows]; };
    float sum = at(p.first_row);
    for (uint32_t r = 1; r < p.rows; ++r) sum += at(p.first_row + r);
    p.out[f * kStripRows + p.out_lane] = p.rows == 1 ? sum : sum / static_cast<float>(p.rows);
  }
}

}  // namespace pets::kernels::reference
