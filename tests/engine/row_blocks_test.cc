#include "runtime/engine/row_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace pets::engine {
namespace {

/// Rows of tasks, one after another, as the strip tables of a batch have them.
struct Groups {
  std::unique_ptr<Task[]> tasks;
  std::vector<RowSegment> segments;
  std::vector<uint32_t> begin{0};

  explicit Groups(const std::vector<uint32_t>& rows_of_task) : tasks(new Task[rows_of_task.size()]) {
    uint32_t row = 0;
    for (size_t t = 0; t < rows_of_task.size(); ++t) {
      for (uint32_t left = rows_of_task[t]; left > 0;) {
        const uint32_t lane = row % kernels::kStripRows, count = std::min(left, kernels::kStripRows - lane);
        RowSegment segment;
        segment.task = &tasks[t];
        segment.lane_begin = static_cast<uint8_t>(lane);
        segment.lane_end = static_cast<uint8_t>(lane + count);
        segment.lanes = kernels::lane_range(lane, lane + count);
        segments.push_back(segment);
        row += count;
        left -= count;
        if (row % kernels::kStripRows == 0) begin.push_back(static_cast<uint32_t>(segments.size()));
      }
    }
    if (row % kernels::kStripRows != 0) begin.push_back(static_cast<uint32_t>(segments.size()));
  }
  uint32_t strips() const { return static_cast<uint32_t>(begin.size() - 1); }
  std::vector<uint32_t> cut(uint32_t threads) const {
    std::vector<uint32_t> blocks(strips() + 1);
    blocks.resize(cut_blocks({segments.data(), begin.data()}, strips(), threads, blocks.data()) + 1);
    return blocks;
  }
};

using Cuts = std::vector<uint32_t>;

TEST(RowBlocksTest, OneTaskIsCutEvenly) {
  EXPECT_EQ(Groups({96}).cut(1), (Cuts{0, 6}));
  EXPECT_EQ(Groups({96}).cut(2), (Cuts{0, 3, 6}));
  EXPECT_EQ(Groups({20 * 16}).cut(2), (Cuts{0, 5, 10, 15, 20}));
  EXPECT_EQ(Groups({7}).cut(4), (Cuts{0, 1}));
}

TEST(RowBlocksTest, CutsLieWhereTasksEnd) {
  EXPECT_EQ(Groups(std::vector<uint32_t>(6, 64)).cut(2), (Cuts{0, 8, 12, 20, 24}));
  EXPECT_EQ(Groups(std::vector<uint32_t>(4, 80)).cut(2), (Cuts{0, 5, 10, 15, 20}));
  EXPECT_EQ(Groups({4 * 16, 20 * 16}).cut(1), (Cuts{0, 4, 10, 17, 24}));
}

TEST(RowBlocksTest, TasksOfFourStripsGoInPairs) {
  // Blocks of one such task and of two by turns took 0.99 of the speed: four strips are tiles of two.
  const Cuts cuts = Groups(std::vector<uint32_t>(32, 64)).cut(2);
  ASSERT_EQ(cuts.size(), 17U);
  for (uint32_t i = 0; i < cuts.size(); ++i) EXPECT_EQ(cuts[i], 8 * i);
}

TEST(RowBlocksTest, TheLastBlocksAreAlikeAndAsManyForEveryThread) {
  EXPECT_EQ(Groups({34 * 16}).cut(2), (Cuts{0, 6, 12, 18, 23, 29, 34}));
  EXPECT_EQ(Groups({46 * 16}).cut(2), (Cuts{0, 6, 12, 18, 24, 30, 35, 41, 46}));
  EXPECT_EQ(Groups({64 * 16}).cut(8), (Cuts{0, 8, 16, 24, 32, 40, 48, 56, 64}));
}

TEST(RowBlocksTest, TasksAreCutWhereThreadsWouldWait) {
  EXPECT_EQ(Groups(std::vector<uint32_t>(12, 32)).cut(2), (Cuts{0, 6, 12, 18, 24}));
  EXPECT_EQ(Groups(std::vector<uint32_t>(7, 64)).cut(2), (Cuts{0, 8, 16, 22, 28}));  // 14 strips each, 16 and 12 where tasks end
  EXPECT_EQ(Groups(std::vector<uint32_t>(6, 64)).cut(4), (Cuts{0, 6, 12, 18, 24}));
  // Each thread takes the next block whenever it is free.
  double sum = 0;
  constexpr int kBatches = 300;
  for (uint64_t seed = 1; seed <= kBatches; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<uint32_t> rows(8 + random() % 50);
    for (uint32_t& count : rows) count = static_cast<uint32_t>(16 * (1 + random() % 5));
    const Groups groups(rows);
    const Cuts cuts = groups.cut(4);
    uint32_t busy_until[4] = {};
    for (size_t i = 1; i < cuts.size(); ++i) *std::min_element(busy_until, busy_until + 4) += cuts[i] - cuts[i - 1];
    sum += 4.0 * *std::max_element(busy_until, busy_until + 4) / groups.strips();
  }
  EXPECT_LT(sum / kBatches, 1.06);  // 1.04; 1.08 where every cut moves
}

TEST(RowBlocksTest, BlocksCoverAllStripsAndFitTheScratch) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    std::vector<uint32_t> rows(1 + random() % 40);
    for (uint32_t& count : rows) count = static_cast<uint32_t>(seed % 2 == 0 ? 1 + random() % 150 : 16 * (1 + random() % 12));
    const Groups groups(rows);
    for (uint32_t threads : {1U, 2U, 3U, 8U}) {
      const Cuts cuts = groups.cut(threads);
      EXPECT_EQ(cuts.front(), 0U);
      EXPECT_EQ(cuts.back(), groups.strips());
      for (size_t i = 1; i < cuts.size(); ++i) {
        EXPECT_LT(cuts[i - 1], cuts[i]);
        EXPECT_LE(cuts[i] - cuts[i - 1], kMostBlockStrips);
      }
    }
  }
}

}  // namespace
}  // namespace pets::engine
