// sparse_tile for one instruction set: see sparse/sparse.h.
#pragma once

#include "kernels/simd/rows16.h"
#include "kernels/sparse/sparse.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline void sparse_tile(const SparseTile& a) {
  const RowMask mask = row_mask(a.lanes);
  for (uint32_t c = 0; c < a.width; ++c) {
    float* y = a.y + c * kStripRows;
    Rows16 sum = load(y);
    for (uint32_t j = a.column_start[c], end = a.column_start[c + 1]; j < end; ++j) {
      sum = mul_add(load(a.x + a.rows[j] * size_t{kStripRows}), broadcast(a.values[j]), sum);
    }
    store_rows(mask, sum, y);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
