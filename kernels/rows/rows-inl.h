// shift_rows for one instruction set: see rows/rows.h.
#pragma once

#include "kernels/rows/rows.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// One feature. Unaligned loads would leave the strip at its first and last feature, so those go lane by lane.
inline void shift_feature(const float* a, const float* b, uint32_t from, LaneMask lanes, float* y) {
  for (uint32_t row = 0; row < kStripRows; ++row) {
    if (!(lanes >> row & 1)) continue;
    const uint32_t lane = from + row;
    __builtin_memcpy(y + row, lane < kStripRows ? a + lane : b + lane - kStripRows, sizeof *y);
  }
}

inline void shift_rows(const float* a, const float* b, uint32_t from, size_t features, LaneMask lanes, float* y) {
  const RowMask mask = row_mask(lanes), of_a = row_mask(lane_range(0, kStripRows - from));
  const auto each = [&](const auto& rows_at) PETS_LAMBDA {
    const size_t end = (features - 1) * kStripRows;
    if (lanes == kAllLanes) {
      for (size_t i = kStripRows; i < end; i += kStripRows) store(rows_at(i), y + i);
    } else {
      for (size_t i = kStripRows; i < end; i += kStripRows) store_rows(mask, rows_at(i), y + i);
    }
  };
  if (features == 0) return;
  shift_feature(a, b, from, lanes, y);
  const float* const p = a ? a + from : nullptr;
  const float* const q = b ? b + from - kStripRows : nullptr;
  if (!q) {
    each([&](size_t i) PETS_LAMBDA { return load_unaligned(p + i); });
  } else if (!p) {
    each([&](size_t i) PETS_LAMBDA { return load_unaligned(q + i); });
  } else {
    each([&](size_t i) PETS_LAMBDA { return select(of_a, load_unaligned(p + i), load_unaligned(q + i)); });
  }
  const size_t last = (features - 1) * kStripRows;
  shift_feature(a ? a + last : nullptr, b ? b + last : nullptr, from, lanes, y + last);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
