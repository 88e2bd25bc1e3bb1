#include <cmath>

#include "kernels/reference/reference_kernels.h"
#include "kernels/sparse/sparse.h"

namespace pets::kernels::reference {

void sparse_tile(const SparseTile& a) {
  for (uint32_t strip = 0; strip < a.strips; ++strip) {
    for (uint32_t c = 0; c < a.width; ++c) {
      for (uint32_t row = 0; row < kStripRows; ++row) {
        if (!has_row(a.lanes[strip], row)) continue;
        float& y = a.y[strip * a.y_stride + c * kStripRows + row];
        for (uint32_t j = a.column_start[c]; j < a.column_start[c + 1]; ++j) {
          y = std::fma(a.x[strip][a.rows[j] * size_t{kStripRows} + row], a.values[j], y);
        }
      }
    }
  }
}

}  // namespace pets::kernels::reference
