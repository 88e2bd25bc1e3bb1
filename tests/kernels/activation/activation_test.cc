#include "kernels/activation/activation.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

struct Named {
  Activation activation;
  const char* name;
  double at_minus_infinity;
  double at_infinity;
  double largest_error;  // absolute, relative to max(1, |x|)
};
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr Named kActivations[] = {
    {Activation::kNone, "none", -kInf, kInf, 0},   {Activation::kRelu, "relu", 0, kInf, 0},
    {Activation::kGelu, "gelu", 0, kInf, 1.5e-7},  {Activation::kGeluTanh, "gelu_tanh", 0, kInf, 3e-7},
    {Activation::kSilu, "silu", 0, kInf, 3e-7},    {Activation::kTanh, "tanh", -1, 1, 3e-7},
    {Activation::kSigmoid, "sigmoid", 0, 1, 3e-7}, {Activation::kLeakyRelu, "leaky_relu", -kInf, kInf, 3e-7},
    {Activation::kRelu6, "relu6", 0, 6, 0},        {Activation::kElu, "elu", -1, kInf, 3e-7},
    {Activation::kMish, "mish", 0, kInf, 3e-7},    {Activation::kQuickGelu, "quick_gelu", 0, kInf, 3e-7},
};

class ActivationTest : public KernelTest {
 protected:
  Floats run(const KernelTable& table, Activation activation, const Floats& x) const {
    Floats y(x.size());
    table.activate(activation, x.data(), x.size() / kStripRows, y.data());
    return y;
  }
};
PETS_FOR_EVERY_ISA(ActivationTest);

TEST_P(ActivationTest, StaysWithinItsStatedError) {
  // Dense where the functions bend, then over all magnitudes that float has.
  std::vector<float> points;
  for (int i = -120000; i <= 120000; ++i) points.push_back(static_cast<float>(i) * 1e-4f);
  for (float magnitude = 1e-38f; magnitude < 1e38f; magnitude *= 1.37f) {
    points.push_back(magnitude);
    points.push_back(-magnitude);
  }
  points.resize((points.size() + kStripRows - 1) / kStripRows * kStripRows);
  Floats x(points.size());
  std::copy(points.begin(), points.end(), x.begin());
  for (const Named& a : kActivations) {
    const Floats actual = run(kernels(), a.activation, x), expected = run(reference_kernels(), a.activation, x);
    double worst = 0;
    float where = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error =
          std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])) / std::max(1.0, std::abs(static_cast<double>(x[i])));
      if (!(error <= worst)) {
        worst = error;
        where = x[i];
      }
    }
    EXPECT_LE(worst, a.largest_error) << a.name << " at " << where;
    RecordProperty(a.name, std::to_string(worst));
    std::printf("  %-10s largest error %.2e at %g\n", a.name, worst, static_cast<double>(where));
  }
}

TEST_P(ActivationTest, InfinitiesGiveTheLimitsAndNanStays) {
  for (const Named& a : kActivations) {
    Floats x(kStripRows, kNan);
    x[3] = kInfinity;
    x[4] = -kInfinity;
    x[5] = 1;
    const Floats y = run(kernels(), a.activation, x);
    const auto near = [](double actual, double expected) { return actual == expected || std::abs(actual - expected) < 1e-7; };
    EXPECT_TRUE(near(y[3], a.at_infinity)) << a.name << ' ' << y[3];
    EXPECT_TRUE(near(y[4], a.at_minus_infinity)) << a.name << ' ' << y[4];
    EXPECT_TRUE(std::isfinite(y[5])) << a.name;
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[15])) << a.name;
  }
}

TEST_P(ActivationTest, AValuesBitsDependNeitherOnItsLaneNorOnOtherValues) {
  for (const Named& a : kActivations) {
    Random random(static_cast<uint64_t>(a.activation));
    Floats x = random.floats(33 * kStripRows, 8);
    const Floats together = run(kernels(), a.activation, x);
    const std::vector<uint32_t> order = random.lane_order();
    x = permuted(x, order);
    spoil(x, 0x0FF1);
    kernels().activate(a.activation, x.data(), 33, x.data());  // in place
    EXPECT_TRUE(all_same_bits(x, permuted(together, order), 0x0FF1)) << a.name;
  }
}

}  // namespace
}  // namespace pets::kernels
