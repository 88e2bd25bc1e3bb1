#include "converter/files/float_types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace pets::converter {
namespace {

TEST(FloatTypes, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), bits) << value;
    }
  }
}

TEST(FloatTypes, HalvesRoundToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7BFF; ++bits) {  // between every two neighbours
    const float low = half_to_float(static_cast<uint16_t>(bits)), high = half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact
    EXPECT_EQ(float_to_half(middle), (bits & 1U) != 0 ? bits + 1 : bits) << low;
    EXPECT_EQ(float_to_half(std::nextafterf(middle, 0.0F)), bits);
    EXPECT_EQ(float_to_half(std::nextafterf(middle, 1e9F)), bits + 1);
  }
  EXPECT_EQ(float_to_half(65519.996F), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_half(-1e30F), 0xFC00);
}

TEST(FloatTypes, BrainFloatsRoundToNearestEven) {
  EXPECT_EQ(float_to_bfloat16(1.0F), 0x3F80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3F808000U)), 0x3F80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3F818000U)), 0x3F82);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3F808001U)), 0x3F81);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::nanf("")))));
  EXPECT_EQ(bfloat16_to_float(0xC000), -2.0F);
}

}  // namespace
}  // namespace pets::converter
