#include "kernels/embedding/embedding.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class EmbeddingTest : public KernelTest {};
PETS_FOR_EVERY_ISA(EmbeddingTest);

TEST_P(EmbeddingTest, SumsThreeRowsInOrderAndZeroesEmptyLanes) {
  uint64_t seed = 1;
  for (size_t hidden : kOddSizes) {
    for (LaneMask lanes : kMasks) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " hidden " << hidden << " lanes " << lanes);
      Random random(seed++);
      // Rows start anywhere; the last one is followed by the 64 bytes that the contract asks for.
      const Floats table = random.floats(40 * hidden + 1 + 16);
      const float *word[16], *type[16], *position[16];
      for (uint32_t row = 0; row < kStripRows; ++row) {
        word[row] = has_lane(lanes, row) ? table.data() + 1 + random.below(40) * hidden : nullptr;
        type[row] = has_lane(lanes, row) ? table.data() + 1 + random.below(40) * hidden : nullptr;
        position[row] = has_lane(lanes, row) ? table.data() + 1 + 39 * hidden : nullptr;
      }
      Floats expected(hidden * kStripRows, kNan), actual(hidden * kStripRows, kNan);
      reference_kernels().embedding_strip({word, type, position, hidden, expected.data()});
      kernels().embedding_strip({word, type, position, hidden, actual.data()});
      EXPECT_TRUE(all_same_bits(actual, expected));
    }
  }
}

}  // namespace
}  // namespace pets::kernels
