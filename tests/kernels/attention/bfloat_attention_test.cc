#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "tests/kernels/attention/attention_case.h"
#include "tests/kernels/gemm/emulated_dots.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

struct BfloatAttentionVariant {
  std::string name;
  BfloatAttention attention;
};
void PrintTo(const BfloatAttentionVariant& variant, std::ostream* out) { *out << variant.name; }  // part of the tests' names

std::vector<BfloatAttentionVariant> bfloat_attention_variants() {
  std::vector<BfloatAttentionVariant> variants;
  for (Isa isa : kAllIsas) {
    if (isa_available(isa) && kernel_table(isa)->dots.attention != nullptr) {
      variants.push_back({std::string(isa_name(isa)), *kernel_table(isa)->dots.attention});
    }
  }
  for (const EmulatedDot& emulated : emulated_dots()) {
    if (emulated.dots.attention != nullptr) variants.push_back({emulated.name, *emulated.dots.attention});
  }
  return variants;
}

class BfloatAttentionTest : public ::testing::TestWithParam<BfloatAttentionVariant> {
 protected:
  const BfloatAttention& attention() const { return GetParam().attention; }
};
INSTANTIATE_TEST_SUITE_P(Variants, BfloatAttentionTest, ::testing::ValuesIn(bfloat_attention_variants()),
                         [](const auto& variant) { return variant.param.name; });

float rounded(float x) { return float_from_bfloat(bfloat_from_float(x)); }

TEST_P(BfloatAttentionTest, EqualsTheReferenceOfRoundedValuesForRaggedBatches) {
  uint64_t seed = 0;
  const std::vector<std::vector<uint32_t>> batches = {{1}, {2}, {16}, {7, 1, 1, 19}, {33, 5}, {16, 16}, {111}, {3, 200, 2}, {2, 30, 17}};
  for (uint32_t head_size : {1U, 7U, 16U, 19U, 32U, 64U, 80U, 256U}) {
    for (const std::vector<uint32_t>& lengths : batches) {
      for (float magnitude : {0.5F, 4.0F}) {
        if (!is_chosen(++seed, 3)) continue;
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " head size " << head_size << " sequences "
                                          << ::testing::PrintToString(lengths));
        Random random(seed);
        AttentionCase batch(random, head_size, lengths, magnitude);
        std::transform(batch.v.begin(), batch.v.end(), batch.v.begin(), rounded);
        const Floats start = batch.out;
        batch.run(reference_kernels());
        const Floats expected = batch.out;
        batch.out = start;
        batch.run(attention());
        // As in AttentionTest; and each weight is rounded by up to 2^-9 of itself. Weights sum to 1 and values are up to 1.
        const double score_error = 6e-8 * magnitude * magnitude * std::sqrt(head_size) * head_size;
        const double tolerance = 0x1p-9 + 4e-6 + 2 * score_error + 1.2e-7 * batch.longest;
        EXPECT_TRUE(all_near(batch.out, expected, [tolerance](size_t) { return tolerance; }));
        if (HasFailure()) return;
      }
    }
  }
}

/// Equal keys weigh equal: nothing is rounded that would not be exact, so that a key too many or too few shows.
TEST_P(BfloatAttentionTest, EqualKeysGiveTheMeanOfTheValues) {
  for (uint32_t length : {1U, 2U, 15U, 16U, 17U, 31U, 64U, 129U, 511U}) {
    for (uint32_t before : {0U, 1U, 2U, 15U}) {
      Random random(length);
      AttentionCase batch(random, 32, {before, length, 3});
      std::fill(batch.k.begin(), batch.k.end(), 0.5F);
      std::transform(batch.v.begin(), batch.v.end(), batch.v.begin(), rounded);
      batch.run(attention());
      for (uint32_t d = 0; d < batch.head_size; ++d) {
        double mean = 0;
        for (uint32_t row = 0; row < length; ++row) mean += static_cast<double>(batch.at(batch.v, before + row, d)) / length;
        for (uint32_t row = 0; row < length; ++row) {
          ASSERT_NEAR(batch.at(batch.out, before + row, d), mean, 2e-7 * length) << "length " << length << " row " << before + row;
        }
      }
    }
  }
}

/// However their exps are rounded.
TEST_P(BfloatAttentionTest, WeightsSumToOne) {
  for (uint32_t length : {3U, 40U, 200U}) {
    Random random(length);
    AttentionCase batch(random, 32, {length}, 0.7F);
    std::fill(batch.v.begin(), batch.v.end(), 1.0F);
    batch.run(attention());
    for (uint32_t row = 0; row < length; ++row) ASSERT_NEAR(batch.at(batch.out, row, row % 32), 1, 1.2e-7 * length) << "row " << row;
  }
}

TEST_P(BfloatAttentionTest, RowsInNoSequenceKeepTheirBits) {
  Random random(3);
  AttentionCase batch(random, 32, {5});
  const Floats start = batch.out;
  batch.run(attention());
  for (size_t i = 0; i < start.size(); ++i) {
    const bool is_row = i % kStripRows < 5 && i / kStripRows < 32;
    EXPECT_EQ(same_bits(batch.out[i], start[i]), !is_row);
  }
}

TEST_P(BfloatAttentionTest, ASequencesBitsDependNeitherOnItsPlaceNorOnItsNeighbours) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    const uint32_t head_size = std::vector<uint32_t>{8, 16, 32, 40, 64}[random.below(5)], length = 1 + random.below(70);
    AttentionCase alone(random, head_size, {length});
    alone.run(attention());
    const uint32_t before = random.below(50), after = 1 + random.below(50);
    AttentionCase among(random, head_size, {before, length, after});
    for (Floats* f : {&among.q, &among.k, &among.v}) spoil(*f, 0);  // every neighbour is spoilt
    among.copy_rows(alone, 0, before, length);
    among.run(attention());
    for (uint32_t row = 0; row < length; ++row) {
      for (uint32_t d = 0; d < head_size; ++d) {
        ASSERT_TRUE(same_bits(among.at(among.out, before + row, d), alone.at(alone.out, row, d))) << "row " << row << " feature " << d;
      }
    }
  }
}

TEST_P(BfloatAttentionTest, HugeScoresDoNotOverflow) {
  Random random(5);
  AttentionCase batch(random, 64, {40}, 1e15F);
  batch.run(attention());
  for (uint32_t row = 0; row < 40; ++row) {
    for (uint32_t d = 0; d < 64; ++d) EXPECT_LE(std::abs(batch.at(batch.out, row, d)), 1.01F);
  }
}

TEST_P(BfloatAttentionTest, ANanOfAValueStaysInItsFeature) {
  Random random(7);
  AttentionCase batch(random, 16, {21});
  batch.at(batch.v, 20, 5) = kNan;
  batch.run(attention());
  for (uint32_t row = 0; row < 21; ++row) {
    for (uint32_t d = 0; d < 16; ++d) EXPECT_EQ(std::isnan(batch.at(batch.out, row, d)), d == 5) << "row " << row << " feature " << d;
  }
}

}  // namespace
}  // namespace pets::kernels
