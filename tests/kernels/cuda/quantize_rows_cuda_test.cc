#include "kernels/quantize/quantize_rows_cuda.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include "tests/kernels/cuda/bounded.h"

#include "kernels/gemm/panel_layout.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class QuantizeRowsCuda : public ::testing::Test {};
TYPED_TEST_SUITE(QuantizeRowsCuda, ActivationTypes);

/// Row r as the CPU converts it.
struct ConvertedRow {
  std::vector<int8_t> q;
  float scale;
};
ConvertedRow converted_on_cpu(const float* x, size_t width) {
  std::vector<float> strip(width * kStripRows);
  for (size_t k = 0; k < width; ++k) strip[k * kStripRows] = x[k];
  std::vector<int8_t> words(padded_inputs(WeightType::kInt8, width) * kStripRows);
  float scales[kStripRows];
  reference::convert_strip(WeightType::kInt8, strip.data(), width, words.data(), scales);
  ConvertedRow row{std::vector<int8_t>(width), scales[0]};
  for (size_t k = 0; k < width; ++k) row.q[k] = words[k / 4 * kStripRows * 4 + k % 4];
  return row;
}

/// Rows that are random but for: 1 zeros, 2 an infinity, 3 a NaN, 4 halves between integers, 5 small values, 6 nearly zeros. What is behind
/// `used` is larger than anything before it, or a NaN.
template <class T>
void expect_quantized(uint32_t rows, uint32_t width, uint32_t used) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << rows << " rows of " << used << " in " << width << ", seed " << seed);
  Random random(seed);
  std::vector<float> values = random.floats(size_t{rows} * width);
  for (uint32_t row = 0; row < rows; ++row) {
    float* const x = values.data() + size_t{row} * width;
    for (uint32_t k = 0; k < used; ++k) {
      if (row == 1) x[k] = k % 2 == 0 ? 0.0F : -0.0F;
      if (row == 4) x[k] = k == 0 ? -127 : static_cast<float>(random.below(253)) / 2 - 63;
      if (row == 5) x[k] *= 1e-30F;  // of half zeros, of others small values like any
      if (row == 6) x[k] *= 1e-38F;
    }
    if (row == 2) x[used / 2] = -std::numeric_limits<float>::infinity();
    if (row == 3) x[used - 1] = std::numeric_limits<float>::quiet_NaN();
    for (uint32_t k = used; k < width; ++k) x[k] = row % 2 == 0 ? 1e4F : std::numeric_limits<float>::quiet_NaN();
  }
  const std::vector<T> stored = rounded<T>(values);
  const DeviceArray<T> d_x(stored);
  const DeviceArray<int8_t> d_q(std::vector<int8_t>(stored.size(), 77));
  const DeviceArray<float> d_scale(std::vector<float>(rows, -77));
  quantize_rows(Stream{}, QuantizeRows<T>{d_x.data(), d_q.data(), d_scale.data(), rows, width, used});

  const std::vector<int8_t> q = d_q.read();
  const std::vector<float> scale = d_scale.read();
  for (uint32_t row = 0; row < rows; ++row) {
    SCOPED_TRACE(::testing::Message() << "row " << row);
    std::vector<float> x(used);
    for (uint32_t k = 0; k < used; ++k) x[k] = as_float(stored[size_t{row} * width + k]);
    const int8_t* const found = q.data() + size_t{row} * width;
    const ConvertedRow expected = converted_on_cpu(x.data(), used);
    if (row == 2 || row == 3) {
      EXPECT_TRUE(std::isnan(scale[row]));
      for (uint32_t k = 0; k < width; ++k) EXPECT_EQ(found[k], 0);
      continue;
    }
    EXPECT_EQ(scale[row], expected.scale);
    int largest = 0;
    for (uint32_t k = 0; k < used; ++k) {
      EXPECT_EQ(found[k], expected.q[k]) << "column " << k << ": " << x[k];
      // Three roundings of float on the way to an integer of at most 127, one of the scale.
      const double bound = scale[row] == 0 ? 1e-36 : scale[row] * (0.5 + 127 * 4 * kFloatRounding);
      EXPECT_NEAR(double{x[k]}, double{scale[row]} * found[k], bound) << "column " << k;
      largest = std::max(largest, std::abs(int{found[k]}));
    }
    EXPECT_EQ(largest, scale[row] == 0 ? 0 : 127);
    for (uint32_t k = used; k < width; ++k) EXPECT_EQ(found[k], 0) << "column " << k;
  }
}

TYPED_TEST(QuantizeRowsCuda, AsTheCpuDoes) {
  expect_quantized<TypeParam>(1, 8, 8);
  expect_quantized<TypeParam>(7, 64, 64);
  expect_quantized<TypeParam>(9, 768, 768);
  expect_quantized<TypeParam>(6, 1040, 1040);  // the last step of a row has two lanes
  expect_quantized<TypeParam>(6, 3072, 3072);
  expect_quantized<TypeParam>(6, 4096, 4096);
}

TYPED_TEST(QuantizeRowsCuda, PaddingBecomesZeroWhateverItHolds) {
  expect_quantized<TypeParam>(7, 112, 100);
  expect_quantized<TypeParam>(7, 112, 96);
  expect_quantized<TypeParam>(6, 32, 17);
  expect_quantized<TypeParam>(6, 2064, 2049);
}

TYPED_TEST(QuantizeRowsCuda, SumsBecomeActivations) {
  using T = TypeParam;
  const struct { uint32_t rows, out, y_stride; } shapes[] = {{1, 8, 8}, {5, 48, 48}, {37, 112, 336}};
  for (const auto& [rows, out, y_stride] : shapes) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << rows << " rows of " << out << ", stride " << y_stride << ", seed " << seed);
    Random random(seed);
    std::vector<int32_t> sums(size_t{rows} * out);
    for (int32_t& sum : sums) sum = static_cast<int32_t>(random.below(2'000'000)) - 1'000'000;
    if (rows > 1) sums[out] = 4096 * 127 * 127;  // the largest that there is, and more bits than float has
    std::vector<float> row_scale = random.floats(rows, 0, 1e-2F), column_scale = random.floats(out, 0, 1e-3F);
    if (rows > 2) row_scale[2] = std::numeric_limits<float>::quiet_NaN();
    const DeviceArray<int32_t> d_sums(sums);
    const DeviceArray<float> d_row_scale(row_scale), d_column_scale(column_scale);
    const DeviceArray<T> d_y(std::vector<T>(size_t{rows} * y_stride, as_type<T>(-77)));
    dequantize_rows(Stream{}, DequantizeRows<T>{d_sums.data(), d_row_scale.data(), d_column_scale.data(), d_y.data(), rows, out, y_stride});
    const std::vector<T> found = d_y.read();
    for (uint32_t row = 0; row < rows; ++row) {
      for (uint32_t c = 0; c < y_stride; ++c) {
        const T y = found[size_t{row} * y_stride + c];
        if (c >= out) {
          EXPECT_EQ(as_float(y), -77) << "row " << row << " column " << c;
        } else if (std::isnan(row_scale[row])) {
          EXPECT_TRUE(std::isnan(as_float(y)));
        } else {
          const double expected = double{static_cast<float>(sums[row * out + c])} * double{row_scale[row] * column_scale[c]};
          expect_rounded(y, Bounded{expected, 0});  // exact but for the rounding to float, which `nearest` has, too
        }
      }
    }
  }
}

TYPED_TEST(QuantizeRowsCuda, NoRows) {
  quantize_rows(Stream{}, QuantizeRows<TypeParam>{});
  dequantize_rows(Stream{}, DequantizeRows<TypeParam>{});
}

}  // namespace
}  // namespace pets::kernels::cuda
