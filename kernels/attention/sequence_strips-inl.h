// Which lanes of which strips a sequence's rows are.
#pragma once

#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Calls use(strip, first lane, end lane, rows before) for the parts of rows [first_row, first_row + rows) in each strip.
template <class Use>
PETS_INLINE void each_strip(uint32_t first_row, uint32_t rows, Use use) {
  uint32_t done = 0;
  while (done < rows) {
    const uint32_t lane = (first_row + done) % kStripRows;
    const uint32_t end = lane + (rows - done) < kStripRows ? lane + (rows - done) : kStripRows;
    use((first_row + done) / kStripRows, lane, end, done);
    done += end - lane;
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
