#include "kernels/rows/rows.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class RowsTest : public KernelTest {};
PETS_FOR_EVERY_ISA(RowsTest);

// The buffers end where the strips end, so that AddressSanitizer sees a load beyond them.
TEST_P(RowsTest, EqualsTheReferenceAndLeavesOtherRowsAlone) {
  uint64_t seed = 0;
  for (size_t features : {1, 2, 3, 17, 384}) {
    for (uint32_t from = 0; from <= kStripRows; ++from) {
      for (LaneMask lanes : kMasks) {
        SCOPED_TRACE(::testing::Message() << "seed " << ++seed << " features " << features << " from " << from << " lanes " << lanes);
        Random random(seed);
        Floats a = random.floats(features * kStripRows), b = random.floats(features * kStripRows);
        const Floats y = random.floats(features * kStripRows);
        a[0] = kNan;
        Floats expected = y, actual = y;
        reference_kernels().shift_rows(a.data(), b.data(), from, features, lanes, expected.data());
        kernels().shift_rows(a.data(), b.data(), from, features, lanes, actual.data());
        ASSERT_TRUE(all_same_bits(actual, expected));
        ASSERT_TRUE(all_same_bits(actual, y, static_cast<LaneMask>(~lanes)));
      }
    }
  }
}

TEST_P(RowsTest, AStripThatNoLaneComesFromMayBeNull) {
  Random random(3);
  const Floats a = random.floats(9 * kStripRows), start = random.floats(9 * kStripRows);
  for (uint32_t from = 0; from <= kStripRows; ++from) {
    const LaneMask of_a = lane_range(0, kStripRows - from), of_b = lane_range(kStripRows - from, kStripRows);
    Floats y = start, expected = start;
    kernels().shift_rows(a.data(), nullptr, from, 9, of_a, y.data());
    reference_kernels().shift_rows(a.data(), nullptr, from, 9, of_a, expected.data());
    EXPECT_TRUE(all_same_bits(y, expected)) << "from " << from;
    kernels().shift_rows(nullptr, a.data(), from, 9, of_b, y.data());
    reference_kernels().shift_rows(nullptr, a.data(), from, 9, of_b, expected.data());
    EXPECT_TRUE(all_same_bits(y, expected)) << "from " << from;
  }
}

}  // namespace
}  // namespace pets::kernels
