// The rows that one task has in a block of strips, and how they move into strips of their own.
//
// Rows of a task lie one after another but may begin and end anywhere in a strip. What works on whole strips for one task alone (masked
// weights, bottlenecks) would compute a strip once for every task that has rows in it; so the rows are gathered into strips of the task's
// own and scattered back, which costs some instructions a feature beside the hundreds that a linear takes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/engine/batch.h"

namespace pets::engine {

/// Rows [first, first + rows) of a block, counted from its first strip.
struct RowRange {
  uint32_t first = 0, rows = 0;

  uint32_t first_strip() const { return first / kernels::kStripRows; }
  uint32_t end_strip() const { return strip_count(first + rows); }
  /// Strips that hold the rows when they are gathered.
  uint32_t own_strips() const { return strip_count(rows); }
  /// The range's lanes of one of its strips.
  kernels::LaneMask lanes(uint32_t strip) const {
    const uint32_t begin = strip * kernels::kStripRows, end = begin + kernels::kStripRows;
    return kernels::lane_range(std::max(first, begin) - begin, std::min(first + rows, end) - begin);
  }
};

/// `features` of the range's rows, laid into strips of their own: x is strip 0 of the block, strips lie x_stride floats apart; y likewise.
/// Lanes behind the last row hold anything.
void gather_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* x, size_t x_stride, float* y,
                 size_t y_stride);
/// The same with a pointer to each strip of the block.
void gather_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* const* x, float* y,
                 size_t y_stride);
/// The same of converted strips with several words of a row side by side: [blocks][16 rows][row_words] (kernels::DotKernels).
void gather_rows_of_words(const RowRange& range, uint32_t row_words, size_t blocks, const float* x, size_t x_stride, float* y,
                          size_t y_stride);
/// The way back: x holds the range's rows in strips of their own; other rows of y keep their bits.
void scatter_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* x, size_t x_stride, float* y,
                  size_t y_stride);

/// Calls each(task, RowRange) for every task that has rows in strips [strip, strip + strips), in order.
template <typename Each>
void each_task(const RowGroups& groups, uint32_t strip, uint32_t strips, const Each& each) {
  const Task* task = nullptr;
  RowRange range;
  for (uint32_t s = 0; s < strips; ++s) {
    for (const RowSegment& segment : groups.of(strip + s)) {
      const uint32_t rows = segment.lane_end - segment.lane_begin;
      if (segment.task == task) {
        range.rows += rows;
        continue;
      }
      if (task != nullptr) each(*task, range);
      task = segment.task;
      range = {s * kernels::kStripRows + segment.lane_begin, rows};
    }
  }
  if (task != nullptr) each(*task, range);
}

}  // namespace pets::engine
