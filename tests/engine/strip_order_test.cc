// Rows are packed so that many tasks and sequences begin or end at a strip's edge.
#include "runtime/engine/strip_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "runtime/engine/batch.h"

namespace pets::engine {
namespace {

using kernels::kStripRows;

/// The order in which items of so many rows are taken.
std::vector<uint32_t> taken(const std::vector<uint32_t>& rows, uint32_t before = 0) {
  const auto items = static_cast<uint32_t>(rows.size());
  memory::Arena counting;
  StripOrder().lay_out(counting, items);
  const memory::Block block = std::move(memory::Block::allocate(counting.used())).value();
  memory::Arena arena(block.data(), block.size());
  StripOrder order;
  order.lay_out(arena, items);
  for (uint32_t i = 0; i < items; ++i) order.add(i, rows[i]);
  std::vector<uint32_t> result;
  while (!order.empty()) {
    result.push_back(order.take(before));
    before += rows[result.back()];
  }
  return result;
}

/// How many items begin or end at a strip's edge.
uint32_t at_edges(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& order) {
  uint32_t count = 0, at = 0;
  for (const uint32_t item : order) {
    count += at % kStripRows == 0 || (at + rows[item]) % kStripRows == 0;
    at += rows[item];
  }
  return count;
}

TEST(StripOrder, ItemsThatFillStripsKeepTheirOrder) {
  EXPECT_EQ(taken({32, 16, 48, 32, 16}), (std::vector<uint32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(taken({}), std::vector<uint32_t>());
  EXPECT_EQ(taken({7}), std::vector<uint32_t>{0});
}

TEST(StripOrder, AnItemThatEndsAtAnEdgeComesNext) {
  EXPECT_EQ(taken({20, 31, 12}), (std::vector<uint32_t>{0, 2, 1}));
  EXPECT_EQ(taken({20, 31, 12}, 1), (std::vector<uint32_t>{1, 0, 2}));  // 31 rows more end the strip
  EXPECT_EQ(taken({8, 3, 8, 8, 8}), (std::vector<uint32_t>{0, 2, 3, 4, 1}));
}

TEST(StripOrder, EveryItemIsTakenOnceAndEqualRemaindersInTheirOrder) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<uint32_t> rows(static_cast<size_t>(random() % 60));
    for (uint32_t& r : rows) r = static_cast<uint32_t>(random() % 70);
    std::vector<uint32_t> order = taken(rows, static_cast<uint32_t>(random() % 40));
    std::vector<uint32_t> last(kStripRows, 0);
    for (const uint32_t item : order) {
      uint32_t& before = last[rows[item] % kStripRows];
      EXPECT_GE(item + 1, before);
      before = item + 1;
    }
    std::sort(order.begin(), order.end());
    for (uint32_t i = 0; i < rows.size(); ++i) EXPECT_EQ(order[i], i);
  }
}

TEST(StripOrder, NearlyAllOfManyItemsAreAtAnEdge) {
  uint32_t items = 0, edges = 0, before = 0;
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> lengths(32, 8);
    std::vector<uint32_t> rows(128), input(128);
    for (uint32_t i = 0; i < rows.size(); ++i) {
      rows[i] = static_cast<uint32_t>(std::max(1.0, std::round(lengths(random))));
      input[i] = i;
    }
    items += 128;
    edges += at_edges(rows, taken(rows));
    before += at_edges(rows, input);
  }
  RecordProperty("at_edges_percent", static_cast<int>(100 * edges / items));
  EXPECT_LE(before, items / 6);  // by chance: 1 - (15 / 16)^2
  EXPECT_GE(edges, items * 9 / 10);
}

// Of few items, against all orders of them.
TEST(StripOrder, FewItemsAreCloseToTheBestOrder) {
  uint32_t found = 0, possible = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint32_t> rows(6), order(6);
    for (uint32_t i = 0; i < rows.size(); ++i) {
      rows[i] = static_cast<uint32_t>(1 + random() % 48);
      order[i] = i;
    }
    uint32_t best = 0;
    do best = std::max(best, at_edges(rows, order));
    while (std::next_permutation(order.begin(), order.end()));
    const uint32_t greedy = at_edges(rows, taken(rows));
    EXPECT_LE(greedy, best);
    found += greedy;
    possible += best;
  }
  EXPECT_GE(found, possible * 85 / 100) << found << " of " << possible;
}

}  // namespace
}  // namespace pets::engine
