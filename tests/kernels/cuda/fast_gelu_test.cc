#include "tests/kernels/cuda/bounded.h"

#include "kernels/activation/activation_cuda.h"

namespace pets::kernels::cuda {
namespace {

// Before the rounding to 16 bits, which hides most of an error: so on the CPU only, where a test can call it.
TEST(FastGelu, OfEveryHalfIsWithinTheBoundInFloat) {
  for (const float x : every_half()) {
    if (!std::isfinite(x)) continue;
    const double expected = x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    ASSERT_NEAR(fast_gelu(x), expected, kFastGelu * std::max(std::abs(expected), 0x1p-10)) << x;
  }
}

TEST(FastGelu, LimitsAndNotANumber) {
  EXPECT_EQ(fast_gelu(-INFINITY), 0);
  EXPECT_EQ(fast_gelu(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(fast_gelu(NAN)));
}

}  // namespace
}  // namespace pets::kernels::cuda
