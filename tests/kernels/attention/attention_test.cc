#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "tests/kernels/attention/attention_case.h"
#include "tests/kernels/gemm/emulated_dots.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

struct AttentionVariant {
  std::string name;
  KernelTable kernels;
  bool bfloat;  ///< with values in bfloat16
};
void PrintTo(const AttentionVariant& variant, std::ostream* out) { *out << variant.name; }  // part of the tests' names

/// One body for both kinds of every instruction set that has them here, and for the loops that stand for others' dot products.
std::vector<AttentionVariant> attention_variants() {
  std::vector<AttentionVariant> variants;
  for (Isa isa : kAllIsas) {
    if (!isa_available(isa)) continue;
    const KernelTable& table = *kernel_table(isa);
    variants.push_back({std::string(isa_name(isa)), table, false});
    if (table.dots.attention != nullptr) variants.push_back({std::string(isa_name(isa)) + "_bfloat", table, true});
  }
  for (const EmulatedDot& emulated : emulated_dots()) {
    if (emulated.dots.attention == nullptr) continue;
    KernelTable table = *kernel_table(Isa::kPortable);
    table.dots = emulated.dots;
    variants.push_back({emulated.name + "_bfloat", table, true});
  }
  return variants;
}

float rounded(float x) { return float_from_bfloat(bfloat_from_float(x)); }

class AttentionTest : public ::testing::TestWithParam<AttentionVariant> {
 protected:
  bool bfloat() const { return GetParam().bfloat; }
  void run(AttentionCase& batch) const { bfloat() ? batch.run(*GetParam().kernels.dots.attention) : batch.run(GetParam().kernels); }
  /// Leaves values that rounding does not change.
  void round_values(AttentionCase& batch) const {
    if (bfloat()) std::transform(batch.v.begin(), batch.v.end(), batch.v.begin(), rounded);
  }
};
INSTANTIATE_TEST_SUITE_P(Variants, AttentionTest, ::testing::ValuesIn(attention_variants()),
                         [](const auto& variant) { return variant.param.name; });

TEST_P(AttentionTest, EqualsTheReferenceForRaggedBatches) {
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
        round_values(batch);
        const Floats start = batch.out;
        batch.run(reference_kernels());
        const Floats expected = batch.out;
        batch.out = start;
        run(batch);
        // Values are up to 1, weights sum to 1: what counts is the error of the scores, relative to their terms, and of the chain; in
        // bfloat16 each weight is rounded by up to 2^-9 of itself, too, and the exps' sum is one more chain.
        const double score_error = 6e-8 * magnitude * magnitude * std::sqrt(head_size) * head_size;
        const double chains = bfloat() ? 2 : 1, rounding = bfloat() ? 0x1p-9 : 0;
        const double tolerance = rounding + 2 * score_error + chains * (2e-6 + 6e-8 * batch.longest);
        EXPECT_TRUE(all_near(batch.out, expected, [tolerance](size_t) { return tolerance; }));
        if (HasFailure()) return;
      }
    }
  }
}

/// Equal keys weigh equal: nothing is rounded that would not be exact, so that a key too many or too few shows.
TEST_P(AttentionTest, EqualKeysGiveTheMeanOfTheValues) {
  for (uint32_t length : {1U, 2U, 15U, 16U, 17U, 31U, 64U, 129U, 511U}) {
    for (uint32_t before : {0U, 1U, 2U, 15U}) {
      Random random(length);
      AttentionCase batch(random, 32, {before, length, 3});
      std::fill(batch.k.begin(), batch.k.end(), 0.5F);
      round_values(batch);
      run(batch);
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
TEST_P(AttentionTest, WeightsSumToOne) {
  for (uint32_t length : {3U, 40U, 200U}) {
    Random random(length);
    AttentionCase batch(random, 32, {length}, 0.7F);
    std::fill(batch.v.begin(), batch.v.end(), 1.0F);
    run(batch);
    for (uint32_t row = 0; row < length; ++row) ASSERT_NEAR(batch.at(batch.out, row, row % 32), 1, 1.2e-7 * length) << "row " << row;
  }
}

TEST_P(AttentionTest, RowsInNoSequenceKeepTheirBits) {
  Random random(3);
  AttentionCase batch(random, 32, {5});
  const Floats start = batch.out;
  run(batch);
  for (size_t i = 0; i < start.size(); ++i) {
    const bool is_row = i % kStripRows < 5 && i / kStripRows < 32;
    EXPECT_EQ(same_bits(batch.out[i], start[i]), !is_row);
  }
}

TEST_P(AttentionTest, ASequencesBitsDependNeitherOnItsPlaceNorOnItsNeighbours) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    const uint32_t head_size = std::vector<uint32_t>{8, 16, 32, 40, 64}[random.below(5)], length = 1 + random.below(70);
    AttentionCase alone(random, head_size, {length});
    run(alone);
    const uint32_t before = random.below(50), after = 1 + random.below(50);
    AttentionCase among(random, head_size, {before, length, after});
    for (Floats* f : {&among.q, &among.k, &among.v}) spoil(*f, 0);  // every neighbour is spoilt
    among.copy_rows(alone, 0, before, length);
    run(among);
    for (uint32_t row = 0; row < length; ++row) {
      for (uint32_t d = 0; d < head_size; ++d) {
        ASSERT_TRUE(same_bits(among.at(among.out, before + row, d), alone.at(alone.out, row, d))) << "row " << row << " feature " << d;
      }
    }
  }
}

TEST_P(AttentionTest, HugeScoresDoNotOverflow) {
  for (float magnitude : {1e4F, 1e15F}) {
    Random random(5);
    AttentionCase batch(random, 64, {40}, magnitude);
    run(batch);
    for (uint32_t row = 0; row < 40; ++row) {
      for (uint32_t d = 0; d < 64; ++d) EXPECT_LE(std::abs(batch.at(batch.out, row, d)), bfloat() ? 1.01F : 1.001F);
    }
  }
}

// A clamp of the exponentials took NaN for a number: the answer was finite and wrong where the softmax has none.
TEST_P(AttentionTest, AnInfiniteScoreGivesNanInItsRow) {
  Random random(11);
  AttentionCase batch(random, 16, {37});
  for (uint32_t d = 0; d < 16; ++d) batch.at(batch.q, 3, d) = d == 0 ? 3e38F : 0;
  batch.at(batch.k, 0, 0) = 10;
  run(batch);
  for (uint32_t row = 0; row < 37; ++row) {
    for (uint32_t d = 0; d < 16; ++d) EXPECT_EQ(std::isnan(batch.at(batch.out, row, d)), row == 3) << "row " << row << " feature " << d;
  }
}

TEST_P(AttentionTest, ANanOfAValueStaysInItsFeature) {
  Random random(7);
  AttentionCase batch(random, 16, {21});
  batch.at(batch.v, 20, 5) = kNan;
  run(batch);
  for (uint32_t row = 0; row < 21; ++row) {
    for (uint32_t d = 0; d < 16; ++d) EXPECT_EQ(std::isnan(batch.at(batch.out, row, d)), d == 5) << "row " << row << " feature " << d;
  }
}

}  // namespace
}  // namespace pets::kernels
