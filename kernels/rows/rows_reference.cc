#include <cstring>

#include "kernels/reference/reference_kernels.h"
#include "kernels/rows/rows.h"

namespace pets::kernels::reference {

void shift_rows(const float* a, const float* b, uint32_t from, size_t features, LaneMask lanes, float* y) {
  for (size_t f = 0; f < features; ++f) {
    for (uint32_t row = 0; row < kStripRows; ++row) {
      if (!has_row(lanes, row)) continue;
      const uint32_t lane = from + row;
      const float* source = lane < kStripRows ? a + f * kStripRows + lane : b + f * kStripRows + lane - kStripRows;
      std::memcpy(y + f * kStripRows + row, source, sizeof *y);  // a copy as a float could quieten a NaN
    }
  }
}

}  // namespace pets::kernels::reference
