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
