// sparse_tile for one instruction set: see sparse/sparse.h.
#pragma once

#include "kernels/simd/rows16.h"
#include "kernels/sparse/sparse.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Of one panel, at most, for their inputs to be asked for: more would not stay in L1, nor need it.
inline constexpr uint32_t kAskedEntries = 128;

/// Entries of a column are taken so many at a time where a register holds a strip's rows; those behind its end are masked out. 1: singly.
inline constexpr uint32_t kEntryGroup = kVectors == 1 ? 4 : 1;

/// Columns differ in their entries, so the end of each is mispredicted: about 20 cycles, which several strips share. In groups most columns
/// are one group, whatever they have.
template <int kStrips>
void sparse_columns(const SparseTile& a, uint32_t first) {
  const float* x[kStrips];
  RowMask mask[kStrips];
  bool whole = true;
  PETS_UNROLL for (int s = 0; s < kStrips; ++s) {
    x[s] = a.x[first + s];
    mask[s] = row_mask(a.lanes[first + s]);
    whole = whole && a.lanes[first + s] == kAllLanes;
  }
  float* y = a.y + first * a.y_stride;
  const size_t y_stride = a.y_stride;
  const uint32_t* const column_start = a.column_start;
  const uint16_t* const entry_rows = a.rows;
  const float* const entry_values = a.values;
  const uint32_t width = a.width, panel_end = column_start[width];
  for (uint32_t c = 0; c < width; ++c, y += kStripRows) {
    Rows16 sum[kStrips];
    PETS_UNROLL for (int s = 0; s < kStrips; ++s) sum[s] = load(y + s * y_stride);
    uint32_t j = column_start[c];
    const uint32_t end = column_start[c + 1];
    if constexpr (kEntryGroup > 1) {
      for (; j < end && j + kEntryGroup <= panel_end; j += kEntryGroup) {
        const Bits16 left = bits_of(static_cast<int32_t>(end - j));
        PETS_UNROLL for (uint32_t i = 0; i < kEntryGroup; ++i) {
          const size_t row = entry_rows[j + i] * size_t{kStripRows};
          const Broadcast value = broadcast(entry_values[j + i]);
          const RowMask own = less(static_cast<int32_t>(i), left);
          PETS_UNROLL for (int s = 0; s < kStrips; ++s) sum[s] = select(own, mul_add(load(x[s] + row), value, sum[s]), sum[s]);
        }
      }
    }
    for (; j < end; ++j) {
      const size_t row = entry_rows[j] * size_t{kStripRows};
      const Broadcast value = broadcast(entry_values[j]);
      PETS_UNROLL for (int s = 0; s < kStrips; ++s) sum[s] = mul_add(load(x[s] + row), value, sum[s]);
    }
    if (whole) {
      PETS_UNROLL for (int s = 0; s < kStrips; ++s) store(sum[s], y + s * y_stride);
    } else {
      PETS_UNROLL for (int s = 0; s < kStrips; ++s) store_rows(mask[s], sum[s], y + s * y_stride);
    }
  }
}

/// A task's entries are read once a block, from beyond L2, a few lines a panel: too few for the CPU to see by itself what comes next. And
/// the inputs, random rows of strips in L2, would be waited for column by column.
inline void ask_for_lines(const SparseTile& a) {
  const uint32_t begin = a.column_start[0], next = a.column_start[a.width], count = next - begin;
  const auto ask = [&](const auto* entries) PETS_LAMBDA {
    const auto* now = reinterpret_cast<const char*>(entries + begin);
    for (size_t at = 0; at < count * sizeof(*entries); at += 64) {
      prefetch_l1(now + at);
      prefetch_l2(now + count * sizeof(*entries) + at);
    }
  };
  ask(a.rows);
  ask(a.values);
  prefetch_l2(a.column_start + 2 * a.width);
  if (count > kAskedEntries) return;
  for (uint32_t j = begin; j < next; ++j) {
    const size_t row = a.rows[j] * size_t{kStripRows};
    for (uint32_t s = 0; s < a.strips; ++s) prefetch_l1(a.x[s] + row);
  }
}

inline void sparse_tile(const SparseTile& a) {
  ask_for_lines(a);
  for (uint32_t done = 0, count = 0; done < a.strips; done += count) {
    const uint32_t left = a.strips - done;
    count = left == 5 ? 3 : left < 4 ? left : 4;
    if (count == 4) sparse_columns<4>(a, done);
    if (count == 3) sparse_columns<3>(a, done);
    if (count == 2) sparse_columns<2>(a, done);
    if (count == 1) sparse_columns<1>(a, done);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
