#include "kernels/sparse/sparse_groups.h"

#include <gtest/gtest.h>

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
  /// Groups in the order in which a warp takes them, as (column, group).
  template <class Use>
  void each_group(const Use& use) const {
    for (size_t panel = 0; panel < panels.size(); ++panel) {
      uint32_t group = panels[panel].first_group;
      const auto& of_column = panels[panel].groups;
      for (uint32_t round = 0, taken = 1; taken != 0; ++round) {
        taken = 0;
        for (uint32_t c = 0; c < kSparsePanelColumns; c += 2) {
          if (round >= uint32_t{of_column[c]} + of_column[c + 1]) continue;
          use(panel * kSparsePanelColumns + (round < of_column[c] ? c : c + 1), group++);
          ++taken;
        }
      }
    }
  }
};

TEST(SparseGroups, HaveEveryEntryOnceAndZerosElsewhere) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const uint32_t out : {1U, 32U, 47U, 96U}) {
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
    std::vector<std::set<std::pair<uint32_t, float>>> found(size_t{out});
    size_t groups = 0;
    grouped.each_group([&](size_t column, uint32_t group) {
      ASSERT_EQ(group, groups++) << "panels follow each other";
      ASSERT_LT(column, out);
      for (uint32_t i = 0; i < kSparseGroupEntries; ++i) {
        const size_t at = size_t{group} * kSparseGroupEntries + i;
        if (grouped.places[at] < kIn) {
          found[column].emplace(grouped.places[at], grouped.values[at]);
        } else {
          EXPECT_LT(grouped.places[at], kIn + kSparseBanks);
          EXPECT_EQ(grouped.values[at], 0);
        }
      }
    });
    EXPECT_EQ(groups * kSparseGroupEntries, grouped.places.size());
    for (uint32_t column = 0; column < out; ++column) {
      std::set<std::pair<uint32_t, float>> expected;
      for (uint32_t j = from.column_start[column]; j < from.column_start[column + 1]; ++j) {
        expected.emplace(sparse_place(from.rows[j]), from.values[j]);
      }
      EXPECT_EQ(found[column], expected) << "out " << out << " column " << column;
    }
  }
}

TEST(SparseGroups, PlacesAreAllInputs) {
  std::set<uint32_t> places;
  for (uint32_t input = 0; input < 64; ++input) places.insert(sparse_place(input));
  EXPECT_EQ(places.size(), 64U);
  EXPECT_EQ(*places.rbegin(), 63U);
}

// Four pairs of lanes read at once. Columns that have as many inputs of each bank never meet, in stored order always.
TEST(SparseGroups, LanesThatReadAtOnceReadDifferentBanks) {
  Operator from;
  for (uint32_t column = 0; column < kSparsePanelColumns; ++column) {
    from.add_column({0, 1, 2, 3, 4, 5, 6, 7});
  }
  const Grouped grouped(from, 8);
  uint32_t pairs = 0, banks = 0;
  grouped.each_group([&](size_t, uint32_t group) {
    banks |= 1U << grouped.places[size_t{group} * kSparseGroupEntries] % kSparseBanks;
    if (++pairs % 4 != 0) return;
    EXPECT_EQ(banks, 0xFU) << "group " << group;
    banks = 0;
  });
}

}  // namespace
}  // namespace pets::kernels
