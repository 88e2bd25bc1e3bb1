// From rows of tokens to one row a query.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// out[f][out_lane] = mean over rows first_row .. first_row + rows - 1 of x, rows ascending (sum, then one division by `rows`);
/// with rows == 1 a plain copy (the first token). x: strip 0, strip s at x + s * x_stride floats; out: one strip [features][16].
/// Only out_lane is written; a lane is 4 bytes, so different lanes must not be written by two threads at once.
struct PoolRows {
  const float* x = nullptr;
  size_t x_stride = 0;
  uint32_t first_row = 0;
  uint32_t rows = 1;
  size_t features = 0;
  float* out = nullptr;
  uint32_t out_lane = 0;
};
using PoolRowsFn = void (*)(const PoolRows&);

}  // namespace pets::kernels
