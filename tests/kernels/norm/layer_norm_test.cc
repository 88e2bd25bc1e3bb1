#include "kernels/norm/layer_norm.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class LayerNormTest : public KernelTest {};
PETS_FOR_EVERY_ISA(LayerNormTest);

constexpr LaneMask kFirst = 0x0F0F, kSecond = 0x3030;  // rows 6, 7, 14, 15 belong to nobody

struct NormCase {
  size_t hidden;
  Floats a, b, y, gamma, beta, gamma2, beta2;
  NormSegment segments[2];

  // Rows far from zero, so that a one-pass variance would lose its digits.
  NormCase(Random& random, size_t hidden_, float offset)
      : hidden(hidden_),
        a(random.floats(hidden * kStripRows)),
        b(random.floats(hidden * kStripRows)),
        y(random.floats(hidden * kStripRows)),
        gamma(random.floats(hidden)),
        beta(random.floats(hidden)),
        gamma2(random.floats(hidden)),
        beta2(random.floats(hidden)),
        segments{{kFirst, gamma.data(), beta.data()}, {kSecond, gamma2.data(), beta2.data()}} {
    for (float& value : a) value += offset;
  }
  LayerNorm arguments(float* out, bool with_b) const { return {a.data(), with_b ? b.data() : nullptr, hidden, 1e-12f, segments, 2, out}; }
};

TEST_P(LayerNormTest, EqualsDoublePrecisionWithinAFewRoundings) {
  uint64_t seed = 1;
  for (size_t hidden : {size_t{1}, size_t{7}, size_t{19}, size_t{33}, size_t{111}, size_t{384}, size_t{1024}}) {
    for (float offset : {0.0f, 3.0f, 1000.0f}) {
      for (bool with_b : {false, true}) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << " hidden " << hidden << " offset " << offset << " b " << with_b);
        Random random(seed++);
        NormCase c(random, hidden, offset);
        Floats expected = c.y, actual = c.y;
        reference_kernels().layer_norm(c.arguments(expected.data(), with_b));
        kernels().layer_norm(c.arguments(actual.data(), with_b));
        EXPECT_TRUE(all_same_bits(actual, c.y, static_cast<LaneMask>(~(kFirst | kSecond))));
        if (hidden == 1) continue;  // the variance of one value is 0: what is left is rounding over sqrt(epsilon)
        // The mean is off by a few units of the largest value, and the deviation of the row (0.4 and more here) divides it.
        const double tolerance = (static_cast<double>(offset) + 8) * 6e-8 * (8 + static_cast<double>(hidden) / 16);
        EXPECT_TRUE(all_near(actual, expected, [tolerance](size_t) { return tolerance; }));
      }
    }
  }
}

TEST_P(LayerNormTest, MayWriteOverItsInputs) {
  for (size_t hidden : {size_t{7}, size_t{384}}) {
    Random random(hidden);
    NormCase c(random, hidden, 1);
    Floats expected = c.a;
    kernels().layer_norm(c.arguments(expected.data(), true));
    Floats a = c.a;
    LayerNorm n = c.arguments(a.data(), true);
    n.a = a.data();
    kernels().layer_norm(n);
    EXPECT_TRUE(all_same_bits(a, expected));

    Floats b = c.b;
    n = c.arguments(b.data(), true);
    n.b = b.data();
    kernels().layer_norm(n);
    EXPECT_TRUE(all_same_bits(b, expected, kFirst | kSecond));
    EXPECT_TRUE(all_same_bits(b, c.b, static_cast<LaneMask>(~(kFirst | kSecond))));
  }
}

TEST_P(LayerNormTest, ARowsBitsDependNeitherOnItsLaneNorOnItsSegmentNorOnOtherRows) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    NormCase c(random, 1 + random.below(400), 0.5f);
    const NormSegment all{kAllLanes, c.gamma.data(), c.beta.data()};
    Floats together(c.y.size());
    kernels().layer_norm({c.a.data(), c.b.data(), c.hidden, 1e-12f, &all, 1, together.data()});

    const std::vector<uint32_t> order = random.lane_order();
    const LaneMask lanes = static_cast<LaneMask>(random.below(0x10000));
    const LaneMask part = static_cast<LaneMask>(lanes & 0x0FF0);
    const NormSegment parts[] = {{part, c.gamma.data(), c.beta.data()},
                                 {static_cast<LaneMask>(lanes & ~part), c.gamma.data(), c.beta.data()}};
    c.a = permuted(c.a, order);
    c.b = permuted(c.b, order);
    spoil(c.a, lanes);
    spoil(c.b, lanes);
    kernels().layer_norm({c.a.data(), c.b.data(), c.hidden, 1e-12f, parts, 2, c.y.data()});
    EXPECT_TRUE(all_same_bits(c.y, permuted(together, order), lanes));
  }
}

}  // namespace
}  // namespace pets::kernels
