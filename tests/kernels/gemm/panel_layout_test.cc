#include "kernels/gemm/panel_layout.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

TEST(PanelLayoutTest, PutsEveryWeightWhereTheHeaderSays) {
  Random random(1);
  for (size_t out : {1, 7, 16, 19, 33, 48}) {
    for (size_t in : {1, 7, 19, 33}) {
      Floats weight = random.floats(out * in), panels(out * in), back(out * in);
      pack_panels16(weight.data(), out, in, panels.data());
      for (size_t o = 0; o < out; ++o) {
        for (size_t k = 0; k < in; ++k) {
          const size_t panel = o / 16;
          EXPECT_EQ(panels[panel_offset(in, panel) + k * panel_width(out, panel) + o % 16], weight[o * in + k]);
        }
      }
      unpack_panels16(panels.data(), out, in, back.data());
      EXPECT_TRUE(all_same_bits(back, weight));

      Buffer<uint16_t> half(out * in);
      pack_panels16_half(weight.data(), out, in, half.data());
      for (size_t i = 0; i < half.size(); ++i) EXPECT_EQ(half[i], half_from_float(panels[i]));
    }
  }
}

/// As the header says.
float int8_scale(const float* weight, size_t in) {
  double step = 0;
  for (size_t k = 0; k < in; ++k) step = std::max(step, std::fabs(double{weight[k]}) / 127);
  for (size_t k = 0; k + 1 < in; k += 2) step = std::max(step, std::fabs(double{weight[k]} + double{weight[k + 1]}) / 127.99);
  return static_cast<float>(step);
}

TEST(PanelLayoutTest, PutsEveryInputOfAGroupWhereTheHeaderSays) {
  Random random(2);
  for (size_t out : {1, 7, 16, 19, 33, 48}) {
    for (size_t in : {1, 2, 3, 4, 5, 7, 19, 33}) {
      SCOPED_TRACE(::testing::Message() << "out " << out << " in " << in);
      const Floats weight = random.floats(out * in);
      const size_t pairs = padded_inputs(WeightType::kBFloat16, in), fours = padded_inputs(WeightType::kInt8, in);
      EXPECT_EQ(pairs, (in + 1) / 2 * 2);
      EXPECT_EQ(fours, (in + 3) / 4 * 4);
      Buffer<uint16_t> bfloat(out * pairs, uint16_t{0xFFFF});
      Buffer<int8_t> bytes(out * fours, int8_t{99});
      Floats scale(out);
      pack_panels16_bfloat(weight.data(), out, in, bfloat.data());
      pack_panels16_int8(weight.data(), out, in, bytes.data(), scale.data());
      Buffer<int8_t> rows(out * in), moved(out * fours, int8_t{99});
      Floats row_scale(out);
      pack_rows_int8(weight.data(), out, in, rows.data(), row_scale.data());
      pack_panels16_bytes(rows.data(), out, in, moved.data());
      for (size_t o = 0; o < out; ++o) {
        const size_t panel = o / 16, width = panel_width(out, panel), c = o % 16;
        EXPECT_EQ(scale[o], int8_scale(weight.data() + o * in, in));
        EXPECT_EQ(row_scale[o], scale[o]);
        for (size_t k = 0; k < pairs; ++k) {
          const uint16_t expected = k < in ? bfloat_from_float(weight[o * in + k]) : uint16_t{0};
          ASSERT_EQ(bfloat[panel_offset(pairs, panel) + (k / 2 * width + c) * 2 + k % 2], expected);
        }
        for (size_t k = 0; k < fours; ++k) {
          const int8_t value = bytes[panel_offset(fours, panel) + (k / 4 * width + c) * 4 + k % 4];
          ASSERT_NE(value, -128);
          ASSERT_EQ(value, k < in ? rows[o * in + k] : 0);
          ASSERT_EQ(value, moved[panel_offset(fours, panel) + (k / 4 * width + c) * 4 + k % 4]);
          ASSERT_NEAR(value * scale[o], k < in ? weight[o * in + k] : 0, scale[o] * 0.5001F);
        }
      }
    }
  }
}

/// One output, packed: the integers, input by input.
std::vector<int> int8_values(const std::vector<float>& weight, float* scale) {
  std::vector<int8_t> panel(padded_inputs(WeightType::kInt8, weight.size()), int8_t{99});
  pack_panels16_int8(weight.data(), 1, weight.size(), panel.data(), scale);
  return {panel.begin(), panel.end()};
}

testing::AssertionResult keeps_the_bounds(const std::vector<int>& values) {
  for (size_t k = 0; k < values.size(); k += 2) {
    if (std::abs(values[k]) > 127 || std::abs(values[k + 1]) > 127 || std::abs(values[k] + values[k + 1]) > 128) {
      return testing::AssertionFailure() << "inputs " << k << " and the next: " << values[k] << " " << values[k + 1];
    }
  }
  return testing::AssertionSuccess();
}

TEST(PanelLayoutTest, Int8PairsKeepTheirBound) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    Random random(seed);
    constexpr float kMagnitudes[] = {1, 0.03F, 3.4e38F, 1e-30F, 1e-36F, 2e-38F, 1e-40F, 0};
    const float magnitude = kMagnitudes[seed % std::size(kMagnitudes)];
    std::vector<float> weight(1 + random.below(40));
    const uint32_t outliers = random.below(4);  // of four kinds of output
    for (float& w : weight) {
      const float sum = random.value() + random.value() + random.value();
      w = sum / 3 * (outliers == 1 ? 0.01F : 1) * magnitude;
      if (outliers > 0 && random.below(10) == 0) w = (outliers == 3 ? std::fabs(random.value()) : random.value()) * magnitude;
    }
    float scale = 0;
    const std::vector<int> values = int8_values(weight, &scale);
    ASSERT_TRUE(keeps_the_bounds(values)) << "seed " << seed;
    for (size_t k = 0; k < values.size(); ++k) {
      const double exact = k < weight.size() && scale >= 1.2e-38F ? weight[k] : 0;
      ASSERT_NEAR(values[k] * double{scale}, exact, scale * 0.50001) << "seed " << seed << " input " << k;
    }
  }
}

TEST(PanelLayoutTest, Int8PairsKeepTheirBoundWhereBothAreRoundedUp) {
  // The largest sum of an output, cut in two at every place, a hair beside each tie: scale and quotients round in their own ways.
  for (float sum : {1.0F, 0.7F, 1.1754944e-36F, 3.3e38F}) {
    for (int i = 0; i <= 256; ++i) {
      for (double beside : {-2e-2, -1e-6, -1e-7, 0.0, 1e-7, 1e-6, 2e-2}) {
        for (float sign : {1.0F, -1.0F}) {
          const auto part = static_cast<float>(sum * (i / 2.0 + beside) / 127.99);
          float scale = 0;
          ASSERT_TRUE(keeps_the_bounds(int8_values({sign * part, sign * (sum - part)}, &scale))) << sum << " " << i << " " << beside;
        }
      }
    }
  }
}

TEST(PanelLayoutTest, OneLargeInt8WeightKeepsItsStep) {
  // Its neighbour has the other sign, or none: 127 steps, not 127.99 of a sum.
  float scale = 0;
  EXPECT_EQ(int8_values({0.5F, -0.25F, -1.27F, 1.27F}, &scale), (std::vector<int>{50, -25, -127, 127}));
  EXPECT_EQ(scale, 1.27F / 127);
  EXPECT_EQ(int8_values({0.64F, 0.635F}, &scale), (std::vector<int>{64, 64, 0, 0}));
  EXPECT_EQ(int8_values({1.27F, -1, 0.1F}, &scale), (std::vector<int>{127, -100, 10, 0}));
}

TEST(PanelLayoutTest, Int8OutputsOfZeroAndOfSubnormalWeightsAreZero) {
  const float weight[] = {0, -0.0F, 1e-40F, -1e-40F, 1, -1};
  int8_t panels[3 * 4];
  float scale[3];
  pack_panels16_int8(weight, 3, 2, panels, scale);
  EXPECT_EQ(scale[0], 0);
  for (int i : {0, 1, 4, 5}) EXPECT_EQ(panels[i], 0) << i;
  EXPECT_EQ(panels[8], 127);
  EXPECT_EQ(panels[9], -127);
}

TEST(BfloatTest, RoundsToTheNearestAndTiesToEven) {
  for (uint32_t b = 0; b < 0x7F80; ++b) {
    const auto low = static_cast<uint16_t>(b), high = static_cast<uint16_t>(b + 1);
    EXPECT_EQ(bfloat_from_float(float_from_bfloat(low)), low);
    const float middle = std::bit_cast<float>(b << 16 | 0x8000U);
    EXPECT_EQ(bfloat_from_float(middle), b % 2 == 0 ? low : high) << b;
    EXPECT_EQ(bfloat_from_float(std::nextafter(middle, 0.0F)), low) << b;
    EXPECT_EQ(bfloat_from_float(std::nextafter(middle, kInfinity)), high) << b;
    EXPECT_EQ(bfloat_from_float(-middle), (b % 2 == 0 ? low : high) | 0x8000) << b;
  }
  EXPECT_EQ(bfloat_from_float(kInfinity), 0x7F80);
  EXPECT_TRUE(std::isnan(float_from_bfloat(bfloat_from_float(std::bit_cast<float>(0x7F800001U)))));
}

TEST(HalfTest, EveryHalfSurvivesTheWayThereAndBack) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const uint16_t half = static_cast<uint16_t>(h);
    const float wide = float_from_half(half);
    if (std::isnan(wide)) {
      EXPECT_EQ(half_from_float(wide), half | 0x200);
    } else {
      EXPECT_EQ(half_from_float(wide), half);
    }
  }
}

TEST(HalfTest, RoundsToTheNearestAndTiesToEven) {
  // Between every two neighbouring halves: the middle goes to the even one, its two float neighbours to their own side.
  for (uint32_t h = 0; h < 0x7C00; ++h) {
    const uint16_t low = static_cast<uint16_t>(h), high = static_cast<uint16_t>(h + 1);
    const float top = high == 0x7C00 ? 65536.0f : float_from_half(high);  // where infinity begins to be nearer
    const float middle = (float_from_half(low) + top) / 2;
    EXPECT_EQ(half_from_float(middle), h % 2 == 0 ? low : high) << h;
    EXPECT_EQ(half_from_float(std::nextafter(middle, 0.0f)), low) << h;
    EXPECT_EQ(half_from_float(std::nextafter(middle, kInfinity)), high) << h;
    EXPECT_EQ(half_from_float(-middle), (h % 2 == 0 ? low : high) | 0x8000) << h;
  }
  EXPECT_EQ(half_from_float(65519.0f), 0x7BFF);
  EXPECT_EQ(half_from_float(65520.0f), 0x7C00);
  EXPECT_EQ(half_from_float(-1e30f), 0xFC00);
  EXPECT_EQ(half_from_float(1e-30f), 0x0000);
  EXPECT_EQ(half_from_float(kInfinity), 0x7C00);
}

}  // namespace
}  // namespace pets::kernels
