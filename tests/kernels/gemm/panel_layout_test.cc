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
      for (size_t o = 0; o < out; ++o) {
        const size_t panel = o / 16, width = panel_width(out, panel), c = o % 16;
        float largest = 0;
        for (size_t k = 0; k < in; ++k) largest = std::max(largest, std::fabs(weight[o * in + k]));
        EXPECT_EQ(scale[o], largest / 127);
        for (size_t k = 0; k < pairs; ++k) {
          const uint16_t expected = k < in ? bfloat_from_float(weight[o * in + k]) : uint16_t{0};
          ASSERT_EQ(bfloat[panel_offset(pairs, panel) + (k / 2 * width + c) * 2 + k % 2], expected);
        }
        for (size_t k = 0; k < fours; ++k) {
          const int8_t value = bytes[panel_offset(fours, panel) + (k / 4 * width + c) * 4 + k % 4];
          ASSERT_NE(value, -128);
          ASSERT_NEAR(value * scale[o], k < in ? weight[o * in + k] : 0, scale[o] * 0.5001F);
        }
      }
    }
  }
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
