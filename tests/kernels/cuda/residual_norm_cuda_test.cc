#include "kernels/norm/residual_norm_cuda.h"

#include <cmath>
#include <random>

#include "tests/kernels/cuda/device_array.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class ResidualNormCuda : public ::testing::Test {};
TYPED_TEST_SUITE(ResidualNormCuda, ActivationTypes);

// Slot 0: nothing of its own. 1: bias and norm. 2: an output scale. 3: a bottleneck, so its rows are another kernel's.
TYPED_TEST(ResidualNormCuda, EveryRowHasItsTasksParameters) {
  using T = TypeParam;
  for (const uint32_t width : {8U, 40U, 384U, 768U, 1024U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "width " << width << " seed " << seed);
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    const auto floats = [&](size_t count, float mean) {
      std::vector<float> values(count);
      for (float& value : values) value = mean + normal(random);
      return values;
    };
    constexpr uint32_t kRows = 9;
    std::vector<float> dense = floats(kRows * width, 0), residual = floats(kRows * width, 1);
    const std::vector<float> bias = floats(width, 0), gamma = floats(width, 1), beta = floats(width, 0);
    const std::vector<float> own_bias = floats(width, 0), own_gamma = floats(width, 1), own_beta = floats(width, 0),
                             scale = floats(width, 1);
    const std::vector<uint16_t> slots = {0, 0, 1, 2, 3, 3, 1, 0, 2};

    const DeviceArray<T> d_dense(rounded<T>(dense)), d_residual(rounded<T>(residual));
    const DeviceArray<float> d_bias(bias), d_gamma(gamma), d_beta(beta), d_own_bias(own_bias), d_own_gamma(own_gamma), d_own_beta(own_beta),
        d_scale(scale);
    std::vector<TaskLinear> linears(4);
    std::vector<TaskNorm> norms(4);
    std::vector<TaskBottleneck> bottlenecks(4);
    linears[1].bias = d_own_bias.data();
    norms[1] = {d_own_gamma.data(), d_own_beta.data()};
    linears[2].scale_output = d_scale.data();
    bottlenecks[3].down = d_scale.data();
    const DeviceArray<TaskLinear> d_linears(linears);
    const DeviceArray<TaskNorm> d_norms(norms);
    const DeviceArray<TaskBottleneck> d_bottlenecks(bottlenecks);
    const DeviceArray<uint16_t> d_slots(slots);

    ResidualNorm<T> call;
    call.dense = d_dense.data();
    call.residual = d_residual.data();
    call.rows = kRows;
    call.width = width;
    call.epsilon = 1e-12F;
    call.bias = d_bias.data();
    call.norm = {d_gamma.data(), d_beta.data()};
    call.slots = d_slots.data();
    call.linears = {d_linears.data(), 1};
    call.norms = {d_norms.data(), 1};
    call.bottlenecks = {d_bottlenecks.data(), 1};
    residual_norm(Stream{}, call);

    const std::vector<T> found = d_residual.read();
    for (uint32_t row = 0; row < kRows; ++row) {
      const uint16_t slot = slots[row];
      std::vector<double> v(width);
      double mean = 0, variance = 0;
      for (uint32_t i = 0; i < width; ++i) {
        v[i] = double{dense[row * width + i]} * (slot == 2 ? scale[i] : 1.0F) + (slot == 1 ? own_bias[i] : bias[i]) +
               residual[row * width + i];
        mean += v[i] / width;
      }
      for (uint32_t i = 0; i < width; ++i) variance += (v[i] - mean) * (v[i] - mean) / width;
      for (uint32_t i = 0; i < width; ++i) {
        const double g = slot == 1 ? own_gamma[i] : gamma[i], b = slot == 1 ? own_beta[i] : beta[i];
        const double normalized = (v[i] - mean) / std::sqrt(variance + 1e-12), expected = normalized * g + b;
        const float value = as_float(found[row * width + i]);
        if (slot == 3) {
          EXPECT_EQ(value, residual[row * width + i]) << "row " << row << " feature " << i;
          continue;
        }
        // One rounding of the result; the float arithmetic before it: a few roundings of values of about 8, over a deviation of about 1.7.
        const double tolerance = rounding<T>() * std::abs(expected) + 64 * 0x1p-24 * (std::abs(g) + std::abs(expected));
        EXPECT_NEAR(value, expected, tolerance) << "row " << row << " feature " << i;
      }
    }
  }
}

}  // namespace
}  // namespace pets::kernels::cuda
