// Which rows of a packed batch belong to whom, before and after the rows that no head reads are dropped.
#include "runtime/engine/batch.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

namespace pets::engine {
namespace {

using kernels::kStripRows;

struct Packed {
  memory::Block block;
  PackedBatch batch;
  std::vector<Task> tasks = std::vector<Task>(6);

  Packed() {
    memory::Arena counting;
    PackedBatch().lay_out(counting, 1024, 64);
    block = std::move(memory::Block::allocate(counting.used())).value();
    memory::Arena arena(block.data(), block.size());
    batch.lay_out(arena, 1024, 64);
    const schema::Pooling poolings[] = {schema::Pooling::kCls,  schema::Pooling::kTokens, schema::Pooling::kPooler,
                                        schema::Pooling::kMean, schema::Pooling::kCls,    schema::Pooling::kPooler};
    for (size_t i = 0; i < tasks.size(); ++i) tasks[i].weights.head.pooling = poolings[i];
    tasks[1].weights.masked = tasks[2].weights.masked = true;
  }

  void append(uint32_t task, uint32_t rows) {
    Sequence sequence;
    sequence.query = static_cast<uint32_t>(batch.sequences().size());
    sequence.task = &tasks[task];
    sequence.token_begin = batch.rows();
    sequence.rows = sequence.tokens = rows;
    batch.append(sequence);
  }

  /// Every row belongs to one sequence, and the tables of both kinds say so.
  void check_tables() const {
    uint32_t row = 0;
    for (uint32_t i = 0; i < batch.sequences().size(); ++i) {
      const Sequence& sequence = batch.sequences()[i];
      EXPECT_EQ(sequence.first_row, row);
      for (uint32_t r = 0; r < sequence.rows; ++r, ++row) {
        EXPECT_EQ(batch.row_sequences()[row], i);
        EXPECT_EQ(batch.row_tokens()[row], sequence.token_begin + r);
        uint32_t owners = 0;
        for (const RowSegment& segment : batch.groups().of(row / kStripRows)) {
          EXPECT_EQ(segment.lanes, kernels::lane_range(segment.lane_begin, segment.lane_end));
          if (row % kStripRows < segment.lane_begin || row % kStripRows >= segment.lane_end) continue;
          EXPECT_EQ(segment.task, sequence.task);
          ++owners;
        }
        EXPECT_EQ(owners, 1U);
        const SequenceMap map = batch.sequence_map();
        for (uint32_t s = map.strip_begin[row / kStripRows]; s < map.strip_begin[row / kStripRows + 1]; ++s) {
          const kernels::AttentionSegment& segment = map.segments[s];
          if (row % kStripRows < segment.lane_begin || row % kStripRows >= segment.lane_end) continue;
          EXPECT_EQ(segment.first_row, sequence.first_key);
          EXPECT_EQ(segment.rows, sequence.tokens);
        }
      }
    }
    EXPECT_EQ(batch.rows(), row);
  }
};

TEST(PackedBatch, TasksAreTogetherAndThoseWithMasksLast) {
  Packed packed;
  for (const uint32_t task : {5U, 2U, 0U, 1U, 3U, 2U, 0U}) packed.append(task, 7 + task);
  packed.batch.group();
  std::vector<uint32_t> order;
  for (const Sequence& sequence : packed.batch.sequences()) order.push_back(static_cast<uint32_t>(sequence.task - packed.tasks.data()));
  // No two of 10, 12 and 14 rows end a strip, nor 4 or 12 after them: the sequence of the first task that comes to an edge is the next.
  EXPECT_EQ(order, (std::vector<uint32_t>{3, 5, 0, 0, 2, 2, 1}));
  packed.check_tables();
}

TEST(PackedBatch, TasksAndTheirSequencesEndWithStripsWhereTheyCan) {
  Packed packed;
  packed.append(0, 20);
  packed.append(3, 9);
  packed.append(4, 10);
  packed.append(0, 12);
  packed.append(4, 13);
  packed.append(4, 6);
  packed.append(0, 3);
  packed.batch.group();
  std::vector<uint32_t> order;
  for (const Sequence& sequence : packed.batch.sequences()) order.push_back(sequence.query);
  // Tasks of 35, 9 and 29 rows: 35 + 29 fill four strips. In them 20 + 12, then 3 + 13 and 10 + 6, and the 9 rows of task 3 last.
  EXPECT_EQ(order, (std::vector<uint32_t>{0, 3, 6, 4, 5, 2, 1}));
  packed.check_tables();
}

TEST(PackedBatch, OnlyReadRowsAreKeptAndCanBeMovedInPlace) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Packed packed;
    for (uint32_t i = 0; i < 1 + random() % 40; ++i)
      packed.append(static_cast<uint32_t>(random() % 6), static_cast<uint32_t>(1 + random() % 25));
    packed.batch.group();
    const std::vector<Sequence> before(packed.batch.sequences().begin(), packed.batch.sequences().end());
    std::vector<uint32_t> memory(packed.batch.rows());  // each row holds where it was at first
    for (uint32_t row = 0; row < memory.size(); ++row) memory[row] = row;
    const bool dropped = packed.batch.keep_read_rows([&](uint32_t from, uint32_t to) { memory[to] = memory[from]; });
    packed.check_tables();
    bool expected = false;
    for (size_t i = 0; i < before.size(); ++i) {
      const Sequence& now = packed.batch.sequences()[i];
      const bool first_only = before[i].task->weights.head.reads_first_row();
      EXPECT_EQ(now.query, before[i].query);
      EXPECT_EQ(now.tokens, before[i].rows);
      EXPECT_EQ(now.first_key, before[i].first_row);
      EXPECT_EQ(now.rows, first_only ? 1U : before[i].rows);
      expected = expected || now.rows != before[i].rows;
      for (uint32_t r = 0; r < now.rows; ++r) EXPECT_EQ(memory[now.first_row + r], before[i].first_row + r);
    }
    EXPECT_EQ(dropped, expected);
  }
}

}  // namespace
}  // namespace pets::engine
