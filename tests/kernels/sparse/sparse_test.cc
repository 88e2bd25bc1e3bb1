#include "kernels/sparse/sparse.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class SparseTest : public KernelTest {};
PETS_FOR_EVERY_ISA(SparseTest);

struct SparseCase {
  Floats x, y, values;
  std::vector<uint32_t> column_start;
  std::vector<uint16_t> rows;
  uint32_t width;
  uint32_t longest = 0;

  SparseCase(Random& random, size_t k, uint32_t width_, uint32_t most)
      : x(random.floats(k * kStripRows)), y(random.floats(width_ * kStripRows)), values(3 + width_ * most), width(width_) {
    random.fill(values);
    column_start.push_back(3);  // the starts are absolute
    rows.assign(3, 0xFFFF);
    for (uint32_t c = 0; c < width; ++c) {
      const uint32_t count = random.below(most + 1);
      longest = std::max(longest, count);
      for (uint32_t i = 0; i < count; ++i) rows.push_back(static_cast<uint16_t>(random.below(static_cast<uint32_t>(k))));
      column_start.push_back(static_cast<uint32_t>(rows.size()));
    }
  }
  const float* first_strip = nullptr;
  /// `lanes` is kept by the caller.
  SparseTile arguments(const LaneMask& lanes, Floats& out) {
    first_strip = x.data();
    return {&first_strip, column_start.data(), rows.data(), values.data(), width, &lanes, 1, out.data(), 0};
  }
};

TEST_P(SparseTest, EqualsTheReferenceAndLeavesOtherRowsAlone) {
  uint64_t seed = 0;
  for (size_t k : kOddSizes) {
    for (uint32_t width = 1; width <= kPanelColumns; ++width) {
      for (uint32_t most : {0u, 1u, 5u, 40u}) {
        for (LaneMask lanes : kMasks) {
          if (!is_chosen(++seed, 5)) continue;
          SCOPED_TRACE(::testing::Message() << "seed " << seed << " k " << k << " width " << width << " most " << most << " lanes "
                                            << lanes);
          Random random(seed);
          SparseCase c(random, k, width, most);
          spoil(c.x, lanes);
          spoil(c.y, lanes);
          Floats actual = c.y, expected = c.y;
          reference_kernels().sparse_tile(c.arguments(lanes, expected));
          kernels().sparse_tile(c.arguments(lanes, actual));
          EXPECT_TRUE(all_same_bits(actual, c.y, static_cast<LaneMask>(~lanes)));
          if (fused()) {
            EXPECT_TRUE(all_same_bits(actual, expected, lanes));
          } else {
            const double tolerance = 1.2e-7 * (c.longest + 1) * (c.longest + 1);
            for (size_t i = 0; i < actual.size(); ++i) {
              if (has_lane(lanes, i % kStripRows)) {
                EXPECT_NEAR(actual[i], expected[i], tolerance);
              }
            }
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(SparseTest, AnInfiniteInputReachesOnlyTheColumnsThatReadIt) {
  // Variants take entries in groups, those behind a column's end are the next column's.
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    SparseCase c(random, 37, kPanelColumns, 9);
    constexpr size_t kInfinite = 5;
    std::fill_n(c.x.begin() + kInfinite * kStripRows, kStripRows, std::numeric_limits<float>::infinity());
    Floats y = c.y;
    const LaneMask all = kAllLanes;
    kernels().sparse_tile(c.arguments(all, y));
    for (uint32_t column = 0; column < c.width; ++column) {
      const auto* const begin = c.rows.data() + c.column_start[column];
      const auto* const end = c.rows.data() + c.column_start[column + 1];
      const bool reads = std::find(begin, end, kInfinite) != end;
      for (uint32_t row = 0; row < kStripRows; ++row) EXPECT_EQ(std::isfinite(y[column * kStripRows + row]), !reads) << column;
    }
  }
}

TEST_P(SparseTest, ARowsBitsDependNeitherOnItsLaneNorOnOtherRows) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    SparseCase c(random, 111, 16, 20);
    Floats together = c.y;
    const LaneMask all = kAllLanes;
    kernels().sparse_tile(c.arguments(all, together));
    const std::vector<uint32_t> order = random.lane_order();
    const LaneMask lanes = static_cast<LaneMask>(random.below(0x10000));
    Floats moved = permuted(c.y, order), expected = permuted(together, order);
    c.x = permuted(c.x, order);
    spoil(c.x, lanes);
    kernels().sparse_tile(c.arguments(lanes, moved));
    EXPECT_TRUE(all_same_bits(moved, expected, lanes));
  }
}

TEST_P(SparseTest, SeveralStripsHaveTheBitsOfEachAlone) {
  constexpr uint32_t kStrips = 7;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    SparseCase c(random, 111, 1 + random.below(16), 9);
    const size_t y_stride = (c.width + random.below(3)) * kStripRows;
    const Floats start = random.floats(kStrips * y_stride);
    std::vector<Floats> inputs;
    const float* x[kStrips];
    LaneMask lanes[kStrips];
    for (uint32_t s = 0; s < kStrips; ++s) {
      inputs.push_back(random.floats(111 * kStripRows));
      lanes[s] = seed % 3 == 0 || s % 2 == 1 ? kAllLanes : static_cast<LaneMask>(random.below(0x10000));
    }
    for (uint32_t s = 0; s < kStrips; ++s) x[s] = inputs[s].data();
    Floats expected = start;
    SparseTile a = c.arguments(lanes[0], expected);
    for (uint32_t s = 0; s < kStrips; ++s) {
      a.x = x + s;
      a.lanes = lanes + s;
      a.y = expected.data() + s * y_stride;
      kernels().sparse_tile(a);
    }
    for (uint32_t strips = 0; strips <= kStrips; ++strips) {
      Floats y = start;
      a = {x, c.column_start.data(), c.rows.data(), c.values.data(), c.width, lanes, strips, y.data(), y_stride};
      kernels().sparse_tile(a);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_TRUE(same_bits(y[i], i < strips * y_stride ? expected[i] : start[i])) << i;
    }
  }
}

}  // namespace
}  // namespace pets::kernels
