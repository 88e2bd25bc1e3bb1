// Sparse deltas (diff-pruning, SHiRA): W + S, S stored by output column.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// Continues the chains of one panel's tiles in `strips` strips, for the rows in lanes[s]:
///   y[s][c][row] += sum over j in [column_start[c], column_start[c + 1]) of x[s][rows[j]][row] * values[j]       in stored order
/// x[s]: [k][16] aligned; y: [width][16] aligned, at y + s * y_stride (floats); column_start: width + 1 entries, absolute indices into
/// rows and values; every rows[j] < k (checked when the bundle is read). Other rows keep their bits.
struct SparseTile {
  const float* const* x = nullptr;
  const uint32_t* column_start = nullptr;
  const uint16_t* rows = nullptr;
  const float* values = nullptr;
  uint32_t width = kPanelColumns;
  const LaneMask* lanes = nullptr;
  uint32_t strips = 1;
  float* y = nullptr;
  size_t y_stride = 0;
};
using SparseTileFn = void (*)(const SparseTile&);

}  // namespace pets::kernels
