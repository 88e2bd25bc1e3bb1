#include "kernels/activation/bias_activation_cuda.h"

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class BiasActivationCuda : public ::testing::Test {
 protected:
  /// One task without operators of its own and no base bias: y = activation(y) of one row.
  std::vector<float> activated_values(Activation activation, std::vector<float>& values) {
    const DeviceArray<T> y(rounded<T>(values));
    const DeviceArray<float> bias(std::vector<float>(values.size(), 0));
    const DeviceArray<uint16_t> slots({0});
    const DeviceArray<TaskLinear> linears(std::vector<TaskLinear>(1));
    const auto width = static_cast<uint32_t>(values.size());
    bias_activation(Stream{}, BiasActivation<T>{y.data(), 1, width, width, bias.data(), activation, slots.data(), {linears.data(), 1}});
    std::vector<float> found;
    for (const T value : y.read()) found.push_back(as_float(value));
    return found;
  }
};
TYPED_TEST_SUITE(BiasActivationCuda, ActivationTypes);

TYPED_TEST(BiasActivationCuda, ActivationsAreAsExactAsStated) {
  std::vector<float> values;
  for (int i = -600; i < 600; ++i) values.push_back(static_cast<float>(i) * 0.0331F);
  for (const float extreme : {1e-30F, 1e-5F, 87.0F, 89.0F, 104.0F, 700.0F, 30000.0F, 0.0F}) {
    values.push_back(extreme);
    values.push_back(-extreme);
  }
  for (unsigned a = 0; a < kActivations; ++a) {
    SCOPED_TRACE(::testing::Message() << "activation " << a);
    const auto activation = static_cast<Activation>(a);
    const std::vector<float> found = this->activated_values(activation, values);
    for (size_t i = 0; i < values.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "x " << values[i]);
      expect_rounded(as_type<TypeParam>(found[i]), activated_as<TypeParam>(activation, {values[i], 0}));
    }
  }
}

TYPED_TEST(BiasActivationCuda, LimitsAndNotANumber) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (unsigned a = 0; a < kActivations; ++a) {
    SCOPED_TRACE(::testing::Message() << "activation " << a);
    const auto activation = static_cast<Activation>(a);
    std::vector<float> values = {-kInfinity, kInfinity, std::numeric_limits<float>::quiet_NaN(), 0, 0, 0, 0, 0};
    const std::vector<float> found = this->activated_values(activation, values);
    float low = 0, high = kInfinity;
    if (activation == Activation::kNone || activation == Activation::kLeakyRelu) low = -kInfinity;
    if (activation == Activation::kTanh || activation == Activation::kElu) low = -1;
    if (activation == Activation::kTanh || activation == Activation::kSigmoid) high = 1;
    if (activation == Activation::kRelu6) high = 6;
    EXPECT_EQ(found[0], low);
    EXPECT_EQ(found[1], high);
    EXPECT_TRUE(std::isnan(found[2]));
  }
}

// All numbers that there are, so nothing is left to chance: NaN stays, infinities give the limits.
TEST(FastGeluCuda, EveryHalfIsRoundedFromWithinTheBound) {
  std::vector<float> values = every_half();
  const DeviceArray<Half> y(rounded<Half>(values));
  const DeviceArray<float> bias(std::vector<float>(values.size(), 0));
  const DeviceArray<uint16_t> slots({0});
  const DeviceArray<TaskLinear> linears(std::vector<TaskLinear>(1));
  const auto width = static_cast<uint32_t>(values.size());
  bias_activation(Stream{},
                  BiasActivation<Half>{y.data(), 1, width, width, bias.data(), Activation::kGelu, slots.data(), {linears.data(), 1}});
  const std::vector<Half> found = y.read();
  for (size_t i = 0; i < values.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "x " << values[i]);
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(as_float(found[i])));
    } else if (std::isinf(values[i])) {
      EXPECT_EQ(as_float(found[i]), values[i] < 0 ? 0 : values[i]);
    } else {
      expect_rounded(found[i], activated_as<Half>(Activation::kGelu, {values[i], 0}));
    }
  }
}

// Slot 0: nothing of its own. 1: a bias. 2: an output scale. 3: both. The operators of this site are every third. Values between the rows
// are someone else's.
TYPED_TEST(BiasActivationCuda, EveryRowHasItsTasksParameters) {
  using T = TypeParam;
  const std::vector<uint16_t> slots = {0, 0, 1, 2, 3, 3, 1, 0, 2};
  const DeviceArray<uint16_t> d_slots(slots);
  for (const uint32_t width : {8U, 48U, 384U, 640U}) {
    const uint32_t stride = width + 16;
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "width " << width << " seed " << seed);
    Random random(seed);
    std::vector<float> y = random.floats(slots.size() * stride);
    const std::vector<float> bias = random.floats(width), own_bias = random.floats(width), scale = random.floats(width, 1);
    const DeviceArray<T> d_y(rounded<T>(y));
    const DeviceArray<float> d_bias(bias), d_own_bias(own_bias), d_scale(scale);
    std::vector<TaskLinear> linears(12);
    for (const uint32_t slot : {1U, 3U}) linears[slot * 3 + 2].bias = d_own_bias.data();
    for (const uint32_t slot : {2U, 3U}) linears[slot * 3 + 2].scale_output = d_scale.data();
    const DeviceArray<TaskLinear> d_linears(linears);

    BiasActivation<T> call;
    call.y = d_y.data();
    call.rows = static_cast<uint32_t>(slots.size());
    call.width = width;
    call.stride = stride;
    call.bias = d_bias.data();
    call.activation = Activation::kGelu;
    call.slots = d_slots.data();
    call.linears = {d_linears.data() + 2, 3};
    bias_activation(Stream{}, call);

    const std::vector<T> found = d_y.read();
    for (size_t row = 0; row < slots.size(); ++row) {
      const bool has_bias = slots[row] % 2 == 1, has_scale = slots[row] >= 2;
      for (uint32_t i = 0; i < stride; ++i) {
        SCOPED_TRACE(::testing::Message() << "row " << row << " feature " << i);
        if (i >= width) {
          EXPECT_EQ(as_float(found[row * stride + i]), y[row * stride + i]);
          continue;
        }
        const Bounded factor{has_scale ? scale[i] : 1.0F}, offset{has_bias ? own_bias[i] : bias[i]};
        expect_rounded(found[row * stride + i], activated_as<T>(Activation::kGelu, Bounded{y[row * stride + i]} * factor + offset));
      }
    }
  }
}

}  // namespace
}  // namespace pets::kernels::cuda
