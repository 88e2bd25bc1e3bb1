#include "kernels/attention/attention.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class AttentionTest : public KernelTest {};
PETS_FOR_EVERY_ISA(AttentionTest);

/// A packed batch of sequences, as an engine would lay it out: q, k and v in strips of [head_size + 3][16].
struct Batch {
  uint32_t head_size;
  size_t stride;
  std::vector<uint32_t> lengths, first;
  uint32_t rows = 0, longest = 0;
  Floats q, k, v, out;

  Batch(Random& random, uint32_t head_size_, const std::vector<uint32_t>& lengths_, float magnitude = 1)
      : head_size(head_size_), stride((head_size_ + 3) * kStripRows), lengths(lengths_), q(0), k(0), v(0), out(0) {
    for (uint32_t n : lengths) {
      first.push_back(rows);
      rows += n;
      longest = std::max(longest, n);
    }
    new_data(random, q, magnitude);
    new_data(random, k, magnitude);
    new_data(random, v, 1);
    new_data(random, out, 1);
  }
  uint32_t strips() const { return (rows + kStripRows - 1) / kStripRows; }
  float at(const Floats& f, uint32_t row, uint32_t d) const { return f[row / kStripRows * stride + d * kStripRows + row % kStripRows]; }
  float& at(Floats& f, uint32_t row, uint32_t d) const { return f[row / kStripRows * stride + d * kStripRows + row % kStripRows]; }
  std::vector<AttentionSegment> segments(uint32_t strip) const {
    std::vector<AttentionSegment> result;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const uint32_t begin = std::max(first[i], strip * kStripRows), end = std::min(first[i] + lengths[i], (strip + 1) * kStripRows);
      if (begin < end) result.push_back({begin - strip * kStripRows, end - strip * kStripRows, first[i], lengths[i]});
    }
    return result;
  }
  void run(const KernelTable& table, uint32_t strip) {
    Floats scratch(attention_scratch_floats(longest), kNan);
    const std::vector<AttentionSegment> parts = segments(strip);
    AttentionStrip a;
    a.q = q.data() + strip * stride;
    a.k = k.data();
    a.v = v.data();
    a.kv_stride = stride;
    a.head_size = head_size;
    a.scale = 1 / std::sqrt(static_cast<float>(head_size));
    a.segments = parts.data();
    a.segment_count = static_cast<uint32_t>(parts.size());
    a.out = out.data() + strip * stride;
    a.scratch = scratch.data();
    table.attention_strip(a);
  }
  void run(const KernelTable& table) {
    for (uint32_t s = 0; s < strips(); ++s) run(table, s);
  }

 private:
  void new_data(Random& random, Floats& f, float magnitude) {
    f.~Floats();
    new (&f) Floats(random.floats(strips() * stride, magnitude));
  }
};

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
        Batch batch(random, head_size, lengths, magnitude);
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
  Batch batch(random, 32, {5});
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
    Batch alone(random, head_size, {length});
    alone.run(kernels());
    const uint32_t before = random.below(50), after = 1 + random.below(50);
    Batch among(random, head_size, {before, length, after});
    for (Floats* f : {&among.q, &among.k, &among.v}) spoil(*f, 0);  // every neighbour is spoilt
    for (uint32_t row = 0; row < length; ++row) {
      for (uint32_t d = 0; d < head_size; ++d) {
        among.at(among.q, before + row, d) = alone.at(alone.q, row, d);
        among.at(among.k, before + row, d) = alone.at(alone.k, row, d);
        among.at(among.v, before + row, d) = alone.at(alone.v, row, d);
      }
    }
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
  Batch batch(random, 64, {40}, 1e4f);
  batch.run(kernels());
  for (uint32_t row = 0; row < 40; ++row) {
    for (uint32_t d = 0; d < 64; ++d) EXPECT_LE(std::abs(batch.at(batch.out, row, d)), 1.001f);
  }
}

}  // namespace
}  // namespace pets::kernels
