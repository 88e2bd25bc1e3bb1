#include "kernels/attention/attention.h"

#include "tests/kernels/attention/attention_case.h"

namespace pets::kernels {
namespace {

class AttentionTest : public KernelTest {};
PETS_FOR_EVERY_ISA(AttentionTest);

TEST_P(AttentionTest, EqualsTheReferenceForRaggedBatches) {
  uint64_t seed = 0;
  const std::vector<std::vector<uint32_t>> batches = {{1}, {16}, {7, 1, 1, 19}, {33, 5}, {16, 16}, {111}, {3, 200, 2}};
  for (uint32_t head_size : {1u, 7u, 16u, 19u, 32u, 64u, 80u, 256u}) {
    for (const std::vector<uint32_t>& lengths : batches) {
      for (float magnitude : {0.5f, 4.0f}) {
        if (!is_chosen(++seed, 3)) continue;
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " head size " << head_size << " sequences "
                                          << ::testing::PrintToString(lengths));
        Random random(seed);
        AttentionCase batch(random, head_size, lengths, magnitude);
        const Floats start = batch.out;
        batch.run(reference_kernels());
        const Floats expected = batch.out;
        batch.out = start;
        batch.run(kernels());
        // Values are up to 1, weights sum to 1: what counts is the error of the scores, relative to their terms, and of the chain.
        const double score_error = 6e-8 * magnitude * magnitude * std::sqrt(head_size) * head_size;
        const double tolerance = 2e-6 + 2 * score_error + 6e-8 * batch.longest;
        EXPECT_TRUE(all_near(batch.out, expected, [tolerance](size_t) { return tolerance; }));
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(AttentionTest, RowsInNoSequenceKeepTheirBits) {
  Random random(3);
  AttentionCase batch(random, 32, {5});
  const Floats start = batch.out;
  batch.run(kernels());
  for (size_t i = 0; i < start.size(); ++i) {
    const bool is_row = i % kStripRows < 5 && i / kStripRows < 32;
    EXPECT_EQ(same_bits(batch.out[i], start[i]), !is_row);
  }
}

TEST_P(AttentionTest, ASequencesBitsDependNeitherOnItsPlaceNorOnItsNeighbours) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    const uint32_t head_size = std::vector<uint32_t>{8, 16, 32, 40, 64}[random.below(5)], length = 1 + random.below(70);
    AttentionCase alone(random, head_size, {length});
    alone.run(kernels());
    const uint32_t before = random.below(50), after = 1 + random.below(50);
    AttentionCase among(random, head_size, {before, length, after});
    for (Floats* f : {&among.q, &among.k, &among.v}) spoil(*f, 0);  // every neighbour is spoilt
    among.copy_rows(alone, 0, before, length);
    among.run(kernels());
    for (uint32_t row = 0; row < length; ++row) {
      for (uint32_t d = 0; d < head_size; ++d) {
        ASSERT_TRUE(same_bits(among.at(among.out, before + row, d), alone.at(alone.out, row, d))) << "row " << row << " feature " << d;
      }
    }
  }
}

TEST_P(AttentionTest, HugeScoresDoNotOverflow) {
  Random random(5);
  AttentionCase batch(random, 64, {40}, 1e4f);
  batch.run(kernels());
  for (uint32_t row = 0; row < 40; ++row) {
    for (uint32_t d = 0; d < 64; ++d) EXPECT_LE(std::abs(batch.at(batch.out, row, d)), 1.001f);
  }
}

}  // namespace
}  // namespace pets::kernels
