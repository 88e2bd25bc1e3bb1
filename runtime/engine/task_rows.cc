#include "runtime/engine/task_rows.h"

namespace pets::engine {

using kernels::kStripRows;

namespace {

/// x(strip): the block's strip.
template <typename Strips>
void gather(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const Strips& x, float* y, size_t y_stride) {
  const uint32_t from = range.first % kStripRows;
  for (uint32_t own = 0; own < range.own_strips(); ++own) {
    const uint32_t strip = range.first_strip() + own;
    const uint32_t rows = std::min(range.rows - own * kStripRows, kStripRows);
    const float* next = from + rows > kStripRows ? x(strip + 1) : nullptr;
    const uint32_t lanes = next != nullptr ? kStripRows : kStripRows - from;  // all that there are: whole stores are cheapest
    kernels.shift_rows(x(strip), next, from, features, kernels::lane_range(0, lanes), y + own * y_stride);
  }
}

}  // namespace

void gather_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* x, size_t x_stride, float* y,
                 size_t y_stride) {
  gather(
      kernels, range, features, [=](uint32_t strip) { return x + strip * x_stride; }, y, y_stride);
}

void gather_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* const* x, float* y,
                 size_t y_stride) {
  gather(
      kernels, range, features, [=](uint32_t strip) { return x[strip]; }, y, y_stride);
}

void gather_rows_of_words(const RowRange& range, uint32_t row_words, size_t blocks, const float* x, size_t x_stride, float* y,
                          size_t y_stride) {
  const size_t block_words = static_cast<size_t>(row_words) * kStripRows;
  const uint32_t from = range.first % kStripRows;
  for (uint32_t own = 0; own < range.own_strips(); ++own, y += y_stride) {
    const uint32_t rows = std::min(range.rows - own * kStripRows, kStripRows), here = std::min(rows, kStripRows - from);
    const float* strip = x + (range.first_strip() + own) * x_stride;
    for (size_t block = 0; block < blocks; ++block) {
      float* to = std::copy_n(strip + block * block_words + from * row_words, here * row_words, y + block * block_words);
      if (rows > here) std::copy_n(strip + x_stride + block * block_words, (rows - here) * row_words, to);
    }
  }
}

void scatter_rows(const kernels::KernelTable& kernels, const RowRange& range, size_t features, const float* x, size_t x_stride, float* y,
                  size_t y_stride) {
  const uint32_t from = kStripRows - range.first % kStripRows;
  for (uint32_t strip = range.first_strip(); strip < range.end_strip(); ++strip) {
    const uint32_t own = strip - range.first_strip();
    const float* before = own > 0 && from < kStripRows ? x + (own - 1) * x_stride : nullptr;
    const float* here = own < range.own_strips() ? x + own * x_stride : nullptr;
    kernels.shift_rows(before, here, from, features, range.lanes(strip), y + strip * y_stride);
  }
}

}  // namespace pets::engine
