#include "kernels/gemm/dot.h"

#include <bit>
#include <cmath>
#include <ostream>

#include "tests/kernels/gemm/dot_case.h"
#include "tests/kernels/gemm/emulated_dots.h"

namespace pets::kernels {
namespace {

struct DotVariant {
  std::string name;
  KernelTable kernels;
  bool fused;
};
void PrintTo(const DotVariant& variant, std::ostream* out) { *out << variant.name; }  // part of the tests' names

/// One body for every variant that this CPU has, and for those of other CPUs whose instructions emulated_dots.cc writes as loops.
class DotTest : public ::testing::TestWithParam<DotVariant> {
 protected:
  const KernelTable& kernels() const { return GetParam().kernels; }
  std::vector<WeightType> types() const {
    if (kernels().dots.bfloat16) return {WeightType::kInt8, WeightType::kBFloat16};
    return {WeightType::kInt8};
  }
  /// In one call, of any number: three that are taken together, and one alone.
  uint32_t masked_panels() const { return std::min(kernels().dots.masked_panels, 4U); }
  double tolerance(const DotCase& c, float expected) const {
    if (c.type == WeightType::kBFloat16) return c.bfloat16_tolerance();
    return GetParam().fused ? 0 : DotCase::unfused_tolerance(expected);
  }
  void expect_like_reference(const DotCase& c, const Floats& actual, const Floats& expected) const {
    if (c.type == WeightType::kInt8 && GetParam().fused) {
      EXPECT_TRUE(all_same_bits(actual, expected));
    } else {
      EXPECT_TRUE(all_near(actual, expected, [&](size_t i) { return tolerance(c, expected[i]); }));
    }
  }
};

std::vector<DotVariant> dot_variants() {
  std::vector<DotVariant> variants;
  for (Isa isa : kAllIsas) {
    if (isa_available(isa)) variants.push_back({std::string(isa_name(isa)), *kernel_table(isa), isa != Isa::kPortable});
  }
#ifndef PETS_EMULATED  // loops for x86-64 say nothing of the machine that is emulated, and take half of the time
  for (const EmulatedDot& emulated : emulated_dots()) {
    KernelTable table = *kernel_table(Isa::kPortable);
    table.dots = emulated.dots;
    variants.push_back({emulated.name, table, false});
  }
#endif
  return variants;
}
INSTANTIATE_TEST_SUITE_P(Variants, DotTest, ::testing::ValuesIn(dot_variants()), [](const auto& variant) { return variant.param.name; });

/// The wanted rows have the bits that they have beside 15 others.
TEST_P(DotTest, FewRowsOfTheLastStripHaveTheirBits) {
  uint64_t seed = 0;
  for (WeightType type : types()) {
    for (const size_t k : {size_t{0}, size_t{3}, size_t{33}, size_t{384}, size_t{1100}}) {
      for (const bool masked : {false, true}) {
        for (const uint32_t width : {kPanelColumns, 5U, 2 * kPanelColumns + 3}) {
          const uint32_t strips = 1 + static_cast<uint32_t>(seed % 5);
          if (width > kPanelColumns * (masked ? masked_panels() : kernels().dots.panels)) continue;
          Random random(++seed);
          DotCase c(random, type, k, width, strips);
          const Floats whole = c.run(kernels(), masked);
          for (c.rows = 1; c.rows <= kStripRows; ++c.rows) {
            const Floats few = c.run(kernels(), masked);
            for (size_t i = 0; i < whole.size(); ++i) {
              const bool last = i >= (strips - 1) * c.y_stride;
              if (!last || i % kStripRows < c.rows) {
                EXPECT_EQ(std::bit_cast<uint32_t>(few[i]), std::bit_cast<uint32_t>(whole[i]))
                    << "seed " << seed << " k " << k << " masked " << masked << " strips " << strips << " rows " << c.rows << " at " << i;
              } else {
                EXPECT_TRUE(std::isfinite(few[i]) || std::isnan(whole[i]));
              }
            }
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(DotTest, EqualsTheReferenceForEveryWidthAndOddSizes) {
  uint64_t seed = 0;
  for (WeightType type : types()) {
    for (size_t k : kDotInputs) {
      for (uint32_t width = 1; width <= kPanelColumns * std::max(kernels().dots.panels, masked_panels()); ++width) {
        const uint32_t strips = 1 + (width + static_cast<uint32_t>(k)) % 7;
        for (bool masked : {false, true}) {
          if (width > kPanelColumns * (masked ? masked_panels() : kernels().dots.panels)) continue;
          if (!is_chosen(++seed, 3)) continue;
          SCOPED_TRACE(::testing::Message() << "seed " << seed << " type " << static_cast<int>(type) << " k " << k << " width " << width
                                            << " strips " << strips << " masked " << masked);
          Random random(seed);
          const DotCase c(random, type, k, width, strips);
          expect_like_reference(c, c.run(kernels(), masked), c.run(reference_kernels(), masked));
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(DotTest, EqualsTheReferenceForEveryNumberOfStrips) {
  uint64_t number = 0;
  for (WeightType type : types()) {
    for (uint32_t strips = 1; strips <= 14; ++strips) {
      for (bool masked : {false, true}) {
        if (!is_chosen(++number, 3)) continue;
        SCOPED_TRACE(::testing::Message() << "type " << static_cast<int>(type) << " strips " << strips << " masked " << masked);
        Random random(strips);
        const uint32_t panels = masked ? masked_panels() : kernels().dots.panels;
        const DotCase c(random, type, 1100, panels * kPanelColumns, strips);  // several blocks of a stage
        expect_like_reference(c, c.run(kernels(), masked), c.run(reference_kernels(), masked));
      }
    }
  }
}

// The weights of two neighbouring inputs: the extremes of what dot.h allows.
constexpr int8_t kExtremePairs[][2] = {{127, 1},  {1, 127},    {64, 64}, {-127, -1}, {-1, -127},  {-64, -64},
                                       {28, 100}, {-100, -28}, {127, 0}, {0, -127},  {127, -127}, {-127, 127}};
using ExtremePair = int8_t[2];

void set_pair(DotCase& c, size_t column, size_t input, const ExtremePair& pair) {
  for (size_t j = 0; j < 2 && input + j < c.k; ++j) {
    c.panel[((input + j) / 4 * c.width + column) * 4 + (input + j) % 4] = static_cast<uint8_t>(pair[j]);
  }
}

TEST_P(DotTest, TheLargestValuesAreExact) {
  // What saturates, or overflows 16 bits, shows here: inputs of 127 and -127, every pair of a panel at the same bound.
  for (const ExtremePair& pair : kExtremePairs) {
    SCOPED_TRACE(::testing::Message() << "pair " << int{pair[0]} << " " << int{pair[1]});
    Random random(3);
    DotCase c(random, WeightType::kInt8, 1100, 16, 1);  // several blocks of a stage
    for (size_t i = 0; i < c.x.size(); ++i) {           // rows of one sign, and those whose neighbouring inputs have the two signs
      const size_t k = i / kStripRows, row = i % kStripRows;
      c.x[i] = (row % 4 == 0 ? 2 : row % 4 == 1 ? -2 : (k + row) % 2 == 0 ? 2.0F : -2.0F);
    }
    for (size_t column = 0; column < c.width; ++column) {
      for (size_t k = 0; k < c.k; k += 2) set_pair(c, column, k, pair);
    }
    std::fill(c.w_scale.begin(), c.w_scale.end(), 1.0F / 127);
    std::fill(c.bias.begin(), c.bias.end(), 0.0F);
    const Floats y = c.run(kernels());
    expect_like_reference(c, y, c.run(reference_kernels()));
    EXPECT_NEAR(y[0], (pair[0] + pair[1]) * 1100 / 127.0, 2e-3);
    EXPECT_NEAR(y[1], (pair[0] + pair[1]) * -1100 / 127.0, 2e-3);
    EXPECT_NEAR(y[2], (pair[0] - pair[1]) * 1100 / 127.0, 4e-3);
  }
}

TEST_P(DotTest, RandomExtremesAreExact) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    DotCase c(random, WeightType::kInt8, 1 + random.below(700), 1 + random.below(16), 1 + random.below(7));
    for (float& x : c.x) x = random.below(4) == 0 ? random.value() : random.below(2) == 0 ? 1.0F : -1.0F;
    for (size_t column = 0; column < c.width; ++column) {
      for (size_t k = 0; k < c.k; k += 2) set_pair(c, column, k, kExtremePairs[random.below(std::size(kExtremePairs))]);
    }
    std::fill(c.w_scale.begin(), c.w_scale.end(), 1.0F / 127);
    const bool masked = seed % 2 == 0;
    expect_like_reference(c, c.run(kernels(), masked), c.run(reference_kernels(), masked));
  }
}

TEST_P(DotTest, ARowsBitsDependNeitherOnItsLaneNorOnItsStripNorOnOtherRows) {
  for (WeightType type : types()) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " type " << static_cast<int>(type));
      Random random(seed);
      const bool masked = seed % 3 == 0;
      const uint32_t widest = masked ? kPanelColumns : kPanelColumns * kernels().dots.panels;
      DotCase c(random, type, 1 + random.below(1200), 1 + random.below(widest), 1 + random.below(7));
      const Floats together = c.run(kernels(), masked);

      // One strip at a time, lanes permuted, half of the rows spoilt.
      const std::vector<uint32_t> order = random.lane_order();
      const auto lanes = static_cast<LaneMask>(random.below(0x10000));
      const Floats moved = permuted(together, order);
      for (uint32_t s = 0; s < c.strips; ++s) {
        DotCase one = c;
        one.strips = 1;
        one.biases = {c.biases[s]};
        one.x = permuted(c.x, order);
        one.y = permuted(c.y, order);
        std::copy_n(one.x.data() + s * c.x_stride, c.x_stride, one.x.data());
        std::copy_n(one.y.data() + s * c.y_stride, c.y_stride, one.y.data());
        spoil(one.x, lanes);
        const Floats alone = one.run(kernels(), masked);
        for (size_t i = 0; i < c.width * kStripRows; ++i) {
          if (!has_lane(lanes, i % kStripRows)) continue;
          EXPECT_TRUE(same_bits(alone[i], moved[s * c.y_stride + i]));
        }
      }
    }
  }
}

TEST_P(DotTest, AMaskThatKeepsAllIsThePlainLinear) {
  for (WeightType type : types()) {
    Random random(9);
    DotCase c(random, type, 600, 13, 4);
    std::fill(c.planes.begin(), c.planes.end(), 0xFFFFFFFF);
    EXPECT_TRUE(all_same_bits(c.run(kernels(), true), c.run(kernels())));
  }
}

TEST_P(DotTest, ScalesAreTheReferencesBitByBit) {
  Random random(5);
  for (float magnitude : {1.0F, 1e30F, 3e38F, 1e-30F, 2e-36F, 1e-37F, 1e-40F, 0.0F}) {
    Floats x = random.floats(33 * kStripRows, magnitude), expected(kStripRows), scale(kStripRows);
    Buffer<uint8_t> converted(converted_strip_bytes(WeightType::kInt8, 33));
    reference_kernels().dots.convert_strip(WeightType::kInt8, x.data(), 33, converted.data(), expected.data());
    kernels().dots.convert_strip(WeightType::kInt8, x.data(), 33, converted.data(), scale.data());
    EXPECT_TRUE(all_same_bits(scale, expected)) << magnitude;
  }
}

TEST_P(DotTest, HugeAndTinyRowsAreWhatTheContractSays) {
  Random random(6);
  DotCase c(random, WeightType::kInt8, 111, 16, 1);
  for (size_t k = 0; k < c.k; ++k) {
    float* row = c.x.data() + k * kStripRows;
    if (k == 50) row[1] = kInfinity, row[2] = -kInfinity, row[3] = kNan, row[4] = -kNan;
    row[5] *= 1e30F;
    row[6] *= 1e-37F;
    row[7] *= 1e-40F;
    row[8] = 0;
  }
  const Floats y = c.run(kernels()), expected = c.run(reference_kernels());
  for (size_t i = 0; i < c.width * kStripRows; ++i) {
    const size_t row = i % kStripRows;
    SCOPED_TRACE(::testing::Message() << "row " << row);
    if (row >= 1 && row <= 4) {
      EXPECT_TRUE(std::isnan(y[i]) && std::isnan(expected[i]));
    } else if (row >= 6 && row <= 8) {
      EXPECT_EQ(y[i], c.bias[i / kStripRows]);
    } else {
      EXPECT_NEAR(y[i], expected[i], tolerance(c, expected[i]));
    }
  }
}

TEST_P(DotTest, Bfloat16KeepsInfinitiesAndNansToTheirRow) {
  if (!kernels().dots.bfloat16) GTEST_SKIP() << "no bfloat16 dot products";
  Random random(7);
  DotCase c(random, WeightType::kBFloat16, 111, 16, 1);
  Floats clean = c.run(kernels());
  c.x[50 * kStripRows + 1] = kInfinity;
  c.x[51 * kStripRows + 2] = std::bit_cast<float>(0x7F800001U);  // a NaN whose upper half alone would be infinity
  c.x[52 * kStripRows + 3] = 3.4e38F;                            // rounds to infinity
  const Floats y = c.run(kernels()), expected = c.run(reference_kernels());
  for (size_t i = 0; i < c.width * kStripRows; ++i) {
    const size_t row = i % kStripRows;
    if (row >= 1 && row <= 3) {
      EXPECT_EQ(std::isnan(y[i]), std::isnan(expected[i])) << row;
      EXPECT_EQ(std::isinf(y[i]), std::isinf(expected[i])) << row;
    } else {
      EXPECT_TRUE(same_bits(y[i], clean[i]));
    }
  }
}

}  // namespace
}  // namespace pets::kernels
