#include "kernels/bottleneck/bottleneck.h"

#include "tests/kernels/kernel_test.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

class BottleneckTest : public KernelTest {};
PETS_FOR_EVERY_ISA(BottleneckTest);

using Row = std::vector<double>;

Row normalized(const Row& x, const NormParameters& norm) {
  double mean = 0, variance = 0;
  for (double v : x) mean += v / static_cast<double>(x.size());
  for (double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = (x[i] - mean) / std::sqrt(variance + static_cast<double>(norm.epsilon)) * static_cast<double>(norm.gamma[i]) +
           static_cast<double>(norm.beta[i]);
  }
  return y;
}

Row product(const Floats& weight, const Floats& bias, bool with_bias, const Row& x) {
  const size_t out = bias.size();
  Row y(out);
  for (size_t o = 0; o < out; ++o) {
    y[o] = with_bias ? static_cast<double>(bias[o]) : 0;
    for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(weight[o * x.size() + i]) * x[i];
  }
  return y;
}

Row sum(const Row& a, const Row& b) {
  Row y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = a[i] + b[i];
  return y;
}

/// Weights as they come from a file, their panels, and the formula of the header in double precision.
struct Adapter {
  size_t hidden, inner;
  Floats down, up, down_bias, up_bias, down_panels, up_panels, channels;
  Floats gammas, betas;
  Bottleneck b;
  NormParameters norm;

  Adapter(Random& random, size_t hidden_, size_t inner_)
      : hidden(hidden_),
        inner(inner_),
        down(random.floats(inner * hidden, 0.3f)),
        up(random.floats(hidden * inner, 0.3f)),
        down_bias(random.floats(inner)),
        up_bias(random.floats(hidden)),
        down_panels(inner * hidden + 16),
        up_panels(hidden * inner + 16),
        channels(random.floats(hidden)),
        gammas(random.floats(3 * hidden)),
        betas(random.floats(3 * hidden)) {
    pack_panels16(down.data(), inner, hidden, down_panels.data());
    pack_panels16(up.data(), hidden, inner, up_panels.data());
    norm = norm_at(2, 1e-12f);
    b.down = down_panels.data();
    b.down_bias = random.below(4) ? down_bias.data() : nullptr;
    b.up = up_panels.data();
    b.up_bias = random.below(4) ? up_bias.data() : nullptr;
    b.inner = static_cast<uint32_t>(inner);
    b.activation = Activation::kRelu;
    b.parallel = random.below(4) == 0;
    b.original_norm_before = random.below(2) != 0;
    b.original_norm_after = random.below(2) != 0;
    b.residual_before_norm = static_cast<ResidualBeforeNorm>(random.below(3));
    b.adapter_residual_before_norm = random.below(2) != 0;
    if (random.below(2)) b.norm_before = norm_at(0, 1e-5f);
    if (random.below(2)) b.norm_after = norm_at(1, 1e-5f);
    b.scaling = random.below(2) ? 1 : 0.7f;
    b.channel_scaling = random.below(3) == 0 ? channels.data() : nullptr;
  }
  NormParameters norm_at(size_t i, float epsilon) const { return {gammas.data() + i * hidden, betas.data() + i * hidden, epsilon}; }

  Row expected(const Row& h, const Row& r) const {
    const Row u = b.parallel ? r : b.original_norm_before ? normalized(sum(h, r), norm) : h;
    const Row d = b.residual_before_norm == ResidualBeforeNorm::kBase      ? h
                  : b.residual_before_norm == ResidualBeforeNorm::kPostAdd ? sum(h, r)
                                                                           : u;
    Row hidden_row = product(down, down_bias, b.down_bias != nullptr, b.norm_before.gamma ? normalized(u, b.norm_before) : u);
    for (double& v : hidden_row) v = std::max(v, 0.0);
    Row a = product(up, up_bias, b.up_bias != nullptr, hidden_row);
    for (size_t i = 0; i < hidden; ++i) a[i] *= static_cast<double>(b.channel_scaling ? b.channel_scaling[i] : b.scaling);
    const auto after = [this](const Row& x) { return b.norm_after.gamma ? normalized(x, b.norm_after) : x; };
    const Row o = b.parallel ? sum(h, after(a)) : b.adapter_residual_before_norm ? after(sum(a, d)) : sum(after(a), d);
    return b.original_norm_after ? normalized(sum(o, r), norm) : o;
  }
};

TEST_P(BottleneckTest, EqualsItsFormulaForEveryOption) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    const size_t hidden = std::vector<size_t>{7, 16, 33, 64}[random.below(4)], inner = std::vector<size_t>{1, 5, 16, 19}[random.below(4)];
    const uint32_t strips = 1 + random.below(kBottleneckStrips);
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " hidden " << hidden << " inner " << inner << " strips " << strips);
    Adapter adapter(random, hidden, inner);
    const size_t strip_floats = hidden * kStripRows;
    const Floats h = random.floats(strips * strip_floats, 2), r = random.floats(strips * strip_floats, 2);
    Floats y(strips * strip_floats), scratch(bottleneck_scratch_floats(hidden, inner), kNan);
    const auto apply_to_rows = [&](uint32_t rows, const float* h_strips, const float* r_strips, float* out) {
      apply_bottleneck(kernels(), adapter.b, adapter.norm, hidden, rows, h_strips, r_strips, scratch.data(), out);
    };
    const auto apply = [&](uint32_t count, const float* h_strips, const float* r_strips, float* out) {
      apply_to_rows(count * kStripRows, h_strips, r_strips, out);
    };
    apply(strips, h.data(), r.data(), y.data());
    for (uint32_t row = 0; row < strips * kStripRows; ++row) {
      const auto at = [&](size_t f) { return row / kStripRows * strip_floats + f * kStripRows + row % kStripRows; };
      Row h_row, r_row;
      for (size_t f = 0; f < hidden; ++f) {
        h_row.push_back(static_cast<double>(h[at(f)]));
        r_row.push_back(static_cast<double>(r[at(f)]));
      }
      const Row expected = adapter.expected(h_row, r_row);
      for (size_t f = 0; f < hidden; ++f) ASSERT_NEAR(y[at(f)], expected[f], 5e-5) << "row " << row << " feature " << f;
    }

    // Fewer rows, in place over either input, and strip by strip: the same bits.
    const uint32_t few = 1 + random.below(strips * kStripRows);
    Floats first(strips * strip_floats);
    apply_to_rows(few, h.data(), r.data(), first.data());
    for (uint32_t row = 0; row < few; ++row) {
      for (size_t f = 0; f < hidden; ++f) {
        const size_t at = row / kStripRows * strip_floats + f * kStripRows + row % kStripRows;
        ASSERT_TRUE(same_bits(first[at], y[at])) << "row " << row << " of " << few << " feature " << f;
      }
    }
    for (bool over_h : {true, false}) {
      Floats h2 = h, r2 = r;
      Floats& out = over_h ? h2 : r2;
      apply(strips, h2.data(), r2.data(), out.data());
      EXPECT_TRUE(all_same_bits(out, y));
    }
    Floats alone(y.size());
    for (size_t at = 0; at < y.size(); at += strip_floats) apply(1, h.data() + at, r.data() + at, alone.data() + at);
    EXPECT_TRUE(all_same_bits(alone, y));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace pets::kernels
