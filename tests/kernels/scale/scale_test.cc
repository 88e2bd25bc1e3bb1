#include "kernels/scale/scale.h"

#include <functional>

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

class ScaleTest : public KernelTest {
 protected:
  using Run = std::function<void(const KernelTable&, LaneMask, const Floats& x, Floats& y)>;

  // Every element-wise kernel is exact up to one rounding, or two where products are rounded on their own.
  void check(const char* name, size_t features, const Run& run) {
    uint64_t seed = 1;
    for (LaneMask lanes : kMasks) {
      SCOPED_TRACE(::testing::Message() << name << " seed " << seed << " features " << features << " lanes " << lanes);
      Random random(seed++);
      Floats x = random.floats(features * kStripRows), y = random.floats(features * kStripRows);
      spoil(x, lanes);
      spoil(y, lanes);
      Floats expected = y, actual = y;
      run(reference_kernels(), lanes, x, expected);
      run(kernels(), lanes, x, actual);
      EXPECT_TRUE(all_same_bits(actual, y, static_cast<LaneMask>(~lanes)));
      for (size_t i = 0; i < y.size(); ++i) {
        if (!has_lane(lanes, i % kStripRows)) continue;
        if (fused()) {
          ASSERT_TRUE(same_bits(actual[i], expected[i]));
        } else {
          ASSERT_NEAR(actual[i], expected[i], 1.2e-7);
        }
      }
    }
  }
};
PETS_FOR_EVERY_ISA(ScaleTest);

TEST_P(ScaleTest, MaskedKernelsEqualTheReferenceAndLeaveOtherRowsAlone) {
  for (size_t features : kOddSizes) {
    Random random(features);
    const Floats factor = random.floats(features), bias = random.floats(features);
    check("scale_features", features, [&](const KernelTable& t, LaneMask lanes, const Floats& x, Floats& y) {
      t.scale_features(x.data(), factor.data(), features, lanes, y.data());
    });
    check("scale_features in place", features, [&](const KernelTable& t, LaneMask lanes, const Floats&, Floats& y) {
      t.scale_features(y.data(), factor.data(), features, lanes, y.data());
    });
    check("scale_bias", features, [&](const KernelTable& t, LaneMask lanes, const Floats&, Floats& y) {
      t.scale_bias(factor.data(), bias.data(), features, lanes, y.data());
    });
    check("scale_bias without bias", features, [&](const KernelTable& t, LaneMask lanes, const Floats&, Floats& y) {
      t.scale_bias(factor.data(), nullptr, features, lanes, y.data());
    });
    check("blend", features,
          [&](const KernelTable& t, LaneMask lanes, const Floats& x, Floats& y) { t.blend(x.data(), features, lanes, y.data()); });
    check("broadcast", features,
          [&](const KernelTable& t, LaneMask lanes, const Floats&, Floats& y) { t.broadcast(factor.data(), features, lanes, y.data()); });
  }
}

TEST_P(ScaleTest, WholeStripsEqualTheReferenceAlsoInPlace) {
  for (size_t features : kOddSizes) {
    Random random(features);
    const Floats a = random.floats(features * kStripRows), b = random.floats(features * kStripRows);
    Floats expected(a.size()), y(a.size());
    reference_kernels().add(a.data(), b.data(), features, expected.data());
    kernels().add(a.data(), b.data(), features, y.data());
    EXPECT_TRUE(all_same_bits(y, expected));
    y = a;
    kernels().add(y.data(), b.data(), features, y.data());
    EXPECT_TRUE(all_same_bits(y, expected));
    y = b;
    kernels().add(a.data(), y.data(), features, y.data());
    EXPECT_TRUE(all_same_bits(y, expected));

    reference_kernels().scale(a.data(), 0.37f, features, expected.data());
    kernels().scale(a.data(), 0.37f, features, y.data());
    EXPECT_TRUE(all_same_bits(y, expected));
    y = a;
    kernels().scale(y.data(), 0.37f, features, y.data());
    EXPECT_TRUE(all_same_bits(y, expected));
  }
}

TEST_P(ScaleTest, BlendingKeepsNegativeZeroAndNan) {
  Floats x(kStripRows, -0.0f), y(kStripRows, kNan);
  kernels().blend(x.data(), 1, 0x00F0, y.data());
  for (uint32_t row = 0; row < kStripRows; ++row) EXPECT_TRUE(same_bits(y[row], has_lane(0x00F0, row) ? -0.0f : kNan));
}

}  // namespace
}  // namespace pets::kernels
