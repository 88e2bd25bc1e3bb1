// Sparse deltas (diff-pruning, SHiRA): W + S, S stored by output column.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// Continues the chains of one strip's tile for the rows in `lanes`:
///   y[c][row] += sum over j in [column_start[c], column_start[c + 1]) of x[rows[j]][row] * values[j]       in stored order
/// x: [k][16] aligned; y: [width][16] aligned; column_start: width + 1 entries, absolute indices into rows and values;
/// every rows[j] < k (checked when the bundle is read). Other rows keep their bits.
struct SparseTile {
  const float* x = nullptr;
  const uint32_t* column_start = nullptr;
  const uint16_t* rows = nullptr;
  const float* values = nullptr;
  uint32_t width = kPanelColumns;
  LaneMask lanes = kAllLanes;
  float* y = nullptr;
};
using SparseTileFn = void (*)(const SparseTile&);

}  // namespace pets::kernels
