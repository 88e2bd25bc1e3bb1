#include "kernels/pooling/pooling.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class PoolingTest : public KernelTest {};
PETS_FOR_EVERY_ISA(PoolingTest);

TEST_P(PoolingTest, AveragesRowsInOrderIntoOneLane) {
  uint64_t seed = 1;
  for (size_t features : kOddSizes) {
    for (uint32_t rows : {1u, 2u, 16u, 33u, 100u}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " features " << features << " rows " << rows);
      Random random(seed++);
      const uint32_t first = random.below(40), lane = random.below(16);
      const size_t stride = (features + 2) * kStripRows;
      const Floats x = random.floats((first + rows + 15) / 16 * stride);
      Floats expected = random.floats(features * kStripRows), actual = expected;
      reference_kernels().pool_rows({x.data(), stride, first, rows, features, expected.data(), lane});
      kernels().pool_rows({x.data(), stride, first, rows, features, actual.data(), lane});
      EXPECT_TRUE(all_same_bits(actual, expected));  // sums only: the same order gives the same bits everywhere
    }
  }
}

TEST_P(PoolingTest, OneRowIsCopiedBitByBit) {
  Floats x(kStripRows, kNan), out(kStripRows);
  x[3] = -0.0f;
  kernels().pool_rows({x.data(), kStripRows, 3, 1, 1, out.data(), 9});
  EXPECT_TRUE(same_bits(out[9], -0.0f));
}

}  // namespace
}  // namespace pets::kernels
