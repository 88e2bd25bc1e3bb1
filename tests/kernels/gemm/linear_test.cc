#include "kernels/gemm/linear.h"

#include <bit>
#include <cmath>

#include "tests/kernels/kernel_test.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

// A panel's tail must be readable for 64 bytes (the bundle guarantees it); the panels here are followed by exactly that.
constexpr size_t kSlack = 64;

struct LinearCase {
  size_t k;
  uint32_t width;
  uint32_t strips;
  WeightType type;
  Floats x, y, panel, bias;
  Buffer<uint16_t> half;
  size_t x_stride, y_stride;
  std::vector<const float*> biases;

  LinearCase(Random& random, size_t k_, uint32_t width_, uint32_t strips_, WeightType type_)
      : k(k_),
        width(width_),
        strips(strips_),
        type(type_),
        x(strips * (k + 2) * kStripRows),
        y(strips * (width + 1) * kStripRows),
        panel(k * width + kSlack / sizeof(float), kNan),
        bias(strips * width),
        half(padded_inputs(type, k) * width + kSlack / sizeof(uint16_t), uint16_t{0x7E00}),
        x_stride((k + 2) * kStripRows),
        y_stride((width + 1) * kStripRows) {
    random.fill(x);
    random.fill(y);
    random.fill(bias);
    for (size_t i = 0; i < k * width; ++i) panel[i] = random.value();
    for (size_t i = 0; i < padded_inputs(type, k) * width; ++i) {
      half[i] = type == WeightType::kBFloat16 ? bfloat_from_float(random.value()) : half_from_float(random.value());
    }
    // Every third strip continues what y holds.
    for (uint32_t s = 0; s < strips; ++s) biases.push_back(s % 3 == 2 ? nullptr : bias.data() + s * width);
  }
  LinearPanel arguments() {
    LinearPanel a;
    a.x = x.data();
    a.x_stride = x_stride;
    a.y = y.data();
    a.y_stride = y_stride;
    a.panel = type == WeightType::kFloat32 ? static_cast<const void*>(panel.data()) : half.data();
    a.type = type;
    a.width = width;
    a.k = k;
    a.bias = biases.data();
    a.strips = strips;
    return a;
  }
};

class LinearTest : public KernelTest {
 protected:
  // A chain of k multiply-adds of values up to 1 rounds at most k + 1 times, at partial sums of at most k + 1; twice that where
  // products are rounded too.
  static double tolerance(size_t k) { return 2 * 6e-8 * static_cast<double>((k + 1) * (k + 1)); }
  void expect_like_reference(const Floats& actual, const Floats& expected, size_t k) const {
    if (fused()) {
      EXPECT_TRUE(all_same_bits(actual, expected));
    } else {
      EXPECT_TRUE(all_near(actual, expected, [k](size_t) { return tolerance(k); }));
    }
  }
};
PETS_FOR_EVERY_ISA(LinearTest);

/// The wanted rows have the bits that they have beside 15 others.
TEST_P(LinearTest, FewRowsOfTheLastStripHaveTheirBits) {
  uint64_t seed = 0;
  for (WeightType type : {WeightType::kFloat32, WeightType::kFloat16, WeightType::kBFloat16}) {
    for (const size_t k : {size_t{0}, size_t{1}, size_t{7}, size_t{33}, size_t{384}}) {
      for (const uint32_t width : {kPanelColumns, 5U}) {
        const uint32_t strips = 1 + static_cast<uint32_t>(seed % 5);
        Random random(++seed);
        LinearCase c(random, k, width, strips, type);
        const size_t last = (strips - 1) * c.arguments().y_stride;
        const Floats before = c.y;
        kernels().linear_panel(c.arguments());
        const Floats whole = c.y;
        for (uint32_t rows = 1; rows <= kStripRows; ++rows) {
          c.y = before;
          LinearPanel call = c.arguments();
          call.rows = rows;
          call.prefetch = rows % 2 == 0 ? call.panel : nullptr;
          kernels().linear_panel(call);
          for (size_t i = 0; i < last + width * kStripRows; ++i) {
            if (i < last || i % kStripRows < rows) {
              EXPECT_EQ(std::bit_cast<uint32_t>(c.y[i]), std::bit_cast<uint32_t>(whole[i])) << "k " << k << " rows " << rows << " at " << i;
            } else {
              EXPECT_TRUE(std::isfinite(c.y[i]));
            }
          }
          for (size_t i = last + width * kStripRows; i < c.y.size(); ++i) EXPECT_EQ(c.y[i], before[i]);
        }
      }
    }
  }
}

TEST_P(LinearTest, EqualsTheReferenceForEveryWidthAndOddSizes) {
  uint64_t seed = 0;
  for (WeightType type : {WeightType::kFloat32, WeightType::kFloat16, WeightType::kBFloat16}) {
    for (size_t k : {size_t{0}, size_t{1}, size_t{7}, size_t{33}, size_t{111}, size_t{384}, size_t{600}}) {
      for (uint32_t width = 1; width <= kPanelColumns; ++width) {
        for (uint32_t strips : {1u, 2u, 3u, 5u}) {
          if (!is_chosen(++seed, 5)) continue;
          SCOPED_TRACE(::testing::Message() << "seed " << seed << " k " << k << " width " << width << " strips " << strips << " type "
                                            << static_cast<int>(type));
          Random random(seed);
          LinearCase c(random, k, width, strips, type);
          Floats start = c.y;
          reference_kernels().linear_panel(c.arguments());
          Floats expected = c.y;
          std::copy(start.begin(), start.end(), c.y.begin());
          kernels().linear_panel(c.arguments());
          expect_like_reference(c.y, expected, k);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(LinearTest, AskingForTheNextPanelChangesNothing) {
  for (WeightType type : {WeightType::kFloat32, WeightType::kFloat16, WeightType::kBFloat16}) {
    Random random(7);
    LinearCase c(random, 300, 16, 5, type);
    Floats start = c.y;
    kernels().linear_panel(c.arguments());
    Floats expected = c.y;
    std::copy(start.begin(), start.end(), c.y.begin());
    LinearPanel a = c.arguments();
    a.prefetch = a.panel;
    kernels().linear_panel(a);
    EXPECT_TRUE(all_same_bits(c.y, expected));
  }
}

TEST_P(LinearTest, InputsInPartsAreTheSameAsAllAtOnce) {
  for (size_t k : {size_t{1}, size_t{65}, size_t{127}, size_t{260}, size_t{515}}) {
    for (uint32_t strips = 1; strips <= 7; ++strips) {
      SCOPED_TRACE(::testing::Message() << "k " << k << " strips " << strips);
      Random random(11 + k);
      LinearCase c(random, k, 16, strips, WeightType::kFloat32);
      const Floats start = c.y;
      kernels().linear_panel(c.arguments());
      const Floats expected = c.y;
      std::copy(start.begin(), start.end(), c.y.begin());
      const std::vector<const float*> none(strips, nullptr);
      LinearPanel a = c.arguments();
      for (size_t done = 0; done < k; done += a.k) {
        a.k = std::min<size_t>(k - done, 100);
        a.x = c.x.data() + done * kStripRows;
        a.panel = c.panel.data() + done * kPanelColumns;
        kernels().linear_panel(a);
        a.bias = none.data();
      }
      EXPECT_TRUE(all_same_bits(c.y, expected));
    }
  }
}

TEST_P(LinearTest, ARowsBitsDependNeitherOnItsLaneNorOnItsStripNorOnOtherRows) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    const uint32_t width = 1 + random.below(16), strips = 1 + random.below(6);
    const WeightType type = seed % 3 == 1 ? WeightType::kFloat32 : seed % 3 == 2 ? WeightType::kFloat16 : WeightType::kBFloat16;
    LinearCase c(random, 1 + random.below(300), width, strips, type);
    Floats start = c.y;
    kernels().linear_panel(c.arguments());
    Floats together = c.y;

    // One strip at a time, lanes permuted, half of the rows spoilt.
    const std::vector<uint32_t> order = random.lane_order();
    const LaneMask lanes = static_cast<LaneMask>(random.below(0x10000));
    c.x = permuted(c.x, order);
    for (uint32_t s = 0; s < strips; ++s) {
      Floats x(c.k * kStripRows), y(width * kStripRows), expected(width * kStripRows);
      for (size_t i = 0; i < x.size(); ++i) x[i] = c.x[s * c.x_stride + i];
      Floats moved_start = permuted(start, order), moved_result = permuted(together, order);
      for (size_t i = 0; i < y.size(); ++i) {
        y[i] = moved_start[s * c.y_stride + i];
        expected[i] = moved_result[s * c.y_stride + i];
      }
      spoil(x, lanes);
      LinearPanel a = c.arguments();
      a.x = x.data();
      a.y = y.data();
      a.bias = c.biases.data() + s;
      a.strips = 1;
      kernels().linear_panel(a);
      EXPECT_TRUE(all_same_bits(y, expected, lanes));
    }
  }
}

TEST_P(LinearTest, AColumnsBitsDoNotDependOnItsPanel) {
  Random random(3);
  LinearCase c(random, 111, 16, 3, WeightType::kFloat32);
  kernels().linear_panel(c.arguments());
  for (uint32_t column = 0; column < 16; ++column) {
    if (c.biases[2] == nullptr) c.biases[2] = c.bias.data() + 2 * 16;
    Floats one(c.k);
    for (size_t k = 0; k < c.k; ++k) one[k] = c.panel[k * 16 + column];
    Floats y(2 * kStripRows);
    const float* biases[2] = {c.biases[0] + column, c.biases[1] + column};
    LinearPanel a = c.arguments();
    a.panel = one.data();
    a.width = 1;
    a.bias = biases;
    a.strips = 2;
    a.y = y.data();
    a.y_stride = kStripRows;
    kernels().linear_panel(a);
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_TRUE(same_bits(y[i], c.y[i / kStripRows * c.y_stride + column * kStripRows + i % kStripRows]));
    }
  }
}

TEST_P(LinearTest, ContinuingAChainIsTheSameAsOneLongChain) {
  Random random(5);
  for (uint32_t width = 1; width <= kPanelColumns; ++width) {
    LinearCase c(random, 96, width, 1, WeightType::kFloat32);
    kernels().linear_panel(c.arguments());
    Floats whole = c.y;
    LinearPanel a = c.arguments();
    a.k = 90;
    kernels().linear_panel(a);
    kernels().linear_continue({c.x.data() + 90 * kStripRows, c.panel.data() + 90 * width, 6, width, kAllLanes, c.y.data()});
    EXPECT_TRUE(all_same_bits(c.y, whole));
  }
}

TEST_P(LinearTest, ContinueWritesOnlyTheRowsOfItsMask) {
  uint64_t seed = 1;
  for (size_t k : {size_t{0}, size_t{1}, size_t{8}, size_t{33}}) {
    for (uint32_t width : {1u, 5u, 8u, 16u}) {
      for (LaneMask lanes : kMasks) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " k " << k << " width " << width << " lanes " << lanes);
        Random random(seed++);
        Floats x = random.floats(k * kStripRows), panel = random.floats(k * width), y = random.floats(width * kStripRows);
        spoil(x, lanes);
        spoil(y, lanes);
        Floats expected = y;
        reference_kernels().linear_continue({x.data(), panel.data(), k, width, lanes, expected.data()});
        Floats untouched = y;
        kernels().linear_continue({x.data(), panel.data(), k, width, lanes, y.data()});
        EXPECT_TRUE(all_same_bits(y, untouched, static_cast<LaneMask>(~lanes)));
        if (fused()) {
          EXPECT_TRUE(all_same_bits(y, expected, lanes));
        } else {
          for (size_t i = 0; i < y.size(); ++i) {
            if (has_lane(lanes, i % kStripRows)) {
              EXPECT_NEAR(y[i], expected[i], tolerance(k));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace pets::kernels
