#include "kernels/scale/scale_input_cuda.h"

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class ScaleInputCuda : public ::testing::Test {};
TYPED_TEST_SUITE(ScaleInputCuda, ActivationTypes);

// Slot 0: no scale; slot 1: one. The operators of this site are every second.
TYPED_TEST(ScaleInputCuda, ScalesTheRowsOfTasksThatHaveAScale) {
  using T = TypeParam;
  const std::vector<uint16_t> slots = {0, 1, 1, 0, 0, 1, 0};
  const DeviceArray<uint16_t> d_slots(slots);
  for (const uint32_t width : {8U, 48U, 384U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "width " << width << " seed " << seed);
    Random random(seed);
    std::vector<float> x = random.floats(slots.size() * width);
    x[1] = std::numeric_limits<float>::infinity();
    const std::vector<float> scale = random.floats(width, 1);
    const DeviceArray<T> d_x(rounded<T>(x)), d_scaled(std::vector<T>(x.size(), as_type<T>(-77)));
    const DeviceArray<float> d_scale(scale);
    std::vector<TaskLinear> linears(4);
    linears[0].scale_input = d_scale.data();  // another site's
    linears[3].scale_input = d_scale.data();
    const DeviceArray<TaskLinear> d_linears(linears);

    ScaleInput<T> call;
    call.x = d_x.data();
    call.scaled = d_scaled.data();
    call.rows = static_cast<uint32_t>(slots.size());
    call.width = width;
    call.slots = d_slots.data();
    call.linears = {d_linears.data() + 1, 2};
    scale_input(Stream{}, call);

    const std::vector<T> found = d_scaled.read();
    for (size_t row = 0; row < slots.size(); ++row) {
      for (size_t i = row * width; i < (row + 1) * width; ++i) {
        const float factor = slots[row] == 1 ? scale[i - row * width] : 1.0F;
        EXPECT_EQ(as_float(found[i]), as_float(as_type<T>(x[i] * factor))) << "row " << row << " feature " << i - row * width;
      }
    }
  }
}

TYPED_TEST(ScaleInputCuda, NoRows) { scale_input(Stream{}, ScaleInput<TypeParam>{}); }

}  // namespace
}  // namespace pets::kernels::cuda
