// The rows of one task, gathered from a block's strips into strips of their own.
#include "runtime/engine/task_rows.h"

#include <gtest/gtest.h>

#include <vector>

namespace pets::engine {
namespace {

using kernels::kStripRows;

TEST(TaskRows, WordsOfARowMoveTogether) {
  constexpr uint32_t kStrips = 4;
  constexpr size_t kBlocks = 3;
  for (const uint32_t row_words : {2U, 16U}) {
    const size_t stride = kBlocks * kStripRows * row_words + 16;
    std::vector<float> x(kStrips * stride);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    const auto at = [&](uint32_t row, size_t block, uint32_t word) {
      return (row / kStripRows) * stride + (block * kStripRows + row % kStripRows) * row_words + word;
    };
    for (uint32_t first = 0; first < kStrips * kStripRows; ++first) {
      for (uint32_t rows = 1; first + rows <= kStrips * kStripRows; ++rows) {
        const RowRange range{first, rows};
        std::vector<float> y(range.own_strips() * stride, -1);
        gather_rows_of_words(range, row_words, kBlocks, x.data(), stride, y.data(), stride);
        for (uint32_t row = 0; row < rows; ++row) {
          for (size_t block = 0; block < kBlocks; ++block) {
            for (uint32_t word = 0; word < row_words; ++word) {
              ASSERT_EQ(y[at(row, block, word)], x[at(first + row, block, word)])
                  << "rows " << first << " + " << rows << ", row " << row << ", block " << block << ", word " << word << " of "
                  << row_words;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace pets::engine
