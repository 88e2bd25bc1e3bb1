#include "kernels/sparse/sparse_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace pets::kernels {
namespace {

struct Operator {
  std::vector<uint32_t> column_start = {0};
  std::vector<uint16_t> rows;
  std::vector<float> values;

  /// A column of these inputs; values are unlike.
  void add_column(const std::vector<uint16_t>& inputs) {
    for (const uint16_t input : inputs) {
      rows.push_back(input);
      values.push_back(static_cast<float>(values.size() + 1));
    }
    column_start.push_back(static_cast<uint32_t>(rows.size()));
  }
  uint32_t out() const { return static_cast<uint32_t>(column_start.size() - 1); }
};

struct Grouped {
  std::vector<SparsePanel> panels;
  std::vector<uint16_t> places;
  std::vector<float> values;

  Grouped(const Operator& from, uint32_t in)
      : panels(sparse_panel_count(from.out())),
        places(sparse_group_count(from.column_start.data(), from.out()) * kSparseGroupEntries),
        values(places.size()) {
    group_sparse({from.column_start.data(), from.rows.data(), from.values.data(), in, from.out()}, panels.data(), places.data(),
                 values.data());
  }
  uint32_t place(size_t group, uint32_t i) const { return places[group * kSparseGroupEntries + i] & kSparsePlaceMask; }
  uint32_t column(size_t group) const { return above(group, 0) + above(group, 2) % 4 * 8; }
  bool last(size_t group) const { return (places[group * kSparseGroupEntries + 2] & kSparseLastBit) != 0; }

 private:
  uint32_t above(size_t group, uint32_t i) const { return uint32_t{places[group * kSparseGroupEntries + i]} >> kSparsePlaceBits; }
};

using Entry = std::pair<uint32_t, float>;  // place, value

TEST(SparseGroups, RunsHaveEveryEntryInItsColumnAndZerosElsewhere) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const uint32_t out : {1U, 32U, 47U, 96U}) {
    SCOPED_TRACE(::testing::Message() << "out " << out);
    constexpr uint32_t kIn = 72;
    Operator from;
    for (uint32_t column = 0; column < out; ++column) {
      std::vector<uint16_t> inputs;
      for (uint16_t k = 0; k < kIn; ++k) {
        if (random() % 16 < column % 5) inputs.push_back(k);
      }
      from.add_column(inputs);
    }
    const Grouped grouped(from, kIn);
    std::vector<std::vector<Entry>> found(size_t{out});
    size_t groups = 0;
    for (size_t p = 0; p < grouped.panels.size(); ++p) {
      const SparsePanel& panel = grouped.panels[p];
      ASSERT_EQ(panel.first_group, groups) << "panels follow each other";
      groups += size_t{panel.rounds} * kSparseRuns;
      std::vector<Entry> open;  // of the column that is not at its end
      for (uint32_t run = 0; run < kSparseRuns; ++run) {
        for (uint32_t round = 0; round < panel.rounds; ++round) {
          const size_t group = panel.first_group + round * kSparseRuns + run;
          for (uint32_t i = 0; i < kSparseGroupEntries; ++i) {
            const float value = grouped.values[group * kSparseGroupEntries + i];
            if (grouped.place(group, i) < kIn) {
              open.emplace_back(grouped.place(group, i), value);
            } else {
              EXPECT_LT(grouped.place(group, i), kIn + kSparseBanks);
              EXPECT_EQ(value, 0);
            }
          }
          if (grouped.last(group)) found.at(p * kSparsePanelColumns + grouped.column(group)).swap(open);
          if (grouped.last(group)) open.clear();
        }
        EXPECT_EQ(panel.continued >> run & 1, open.empty() ? 0 : 1) << "panel " << p << " run " << run;
      }
      EXPECT_TRUE(open.empty());
    }
    EXPECT_EQ(groups * kSparseGroupEntries, grouped.places.size());
    for (uint32_t column = 0; column < out; ++column) {
      std::vector<Entry> expected;
      for (uint32_t j = from.column_start[column]; j < from.column_start[column + 1]; ++j) {
        expected.emplace_back(sparse_place(from.rows[j]), from.values[j]);
      }
      std::sort(expected.begin(), expected.end());
      std::sort(found[column].begin(), found[column].end());
      EXPECT_EQ(found[column], expected) << "column " << column;
    }
  }
}

TEST(SparseGroups, PlacesAreAllInputs) {
  std::set<uint32_t> places;
  for (uint32_t input = 0; input < 64; ++input) places.insert(sparse_place(input));
  EXPECT_EQ(places.size(), 64U);
  EXPECT_EQ(*places.rbegin(), 63U);
}

// Four pairs of lanes read at once. Columns that have as many inputs of each bank never meet.
TEST(SparseGroups, LanesThatReadAtOnceReadDifferentBanks) {
  Operator from;
  for (uint32_t column = 0; column < kSparsePanelColumns; ++column) from.add_column({0, 1, 2, 3, 4, 5, 6, 7});
  const Grouped grouped(from, 8);
  for (size_t group = 0; group < grouped.panels[0].rounds * kSparseRuns; group += 4) {
    for (uint32_t i = 0; i < kSparseGroupEntries; ++i) {
      uint32_t banks = 0;
      for (uint32_t run = 0; run < 4; ++run) banks |= 1U << grouped.place(group + run, i) % kSparseBanks;
      EXPECT_EQ(banks, 0xFU) << "group " << group << " entry " << i;
    }
  }
}

}  // namespace
}  // namespace pets::kernels
