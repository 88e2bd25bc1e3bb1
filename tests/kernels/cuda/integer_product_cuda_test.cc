#include "kernels/quantize/integer_product_cuda.h"

#include "tests/kernels/cuda/bounded.h"

#include "kernels/quantize/quantize_rows_cuda.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class IntegerProductCuda : public ::testing::Test {};
TYPED_TEST_SUITE(IntegerProductCuda, ActivationTypes);

struct ProductShape {
  uint32_t rows, in, out, y_stride;
};

/// What y holds after `multiply` of random rows and weights, and after the exact sums went through dequantize_rows: the same bits.
template <class T>
void expect_exact(const ProductShape& shape) {
  const uint64_t seed = std::random_device()();
  const auto [rows, in, out, y_stride] = shape;
  SCOPED_TRACE(::testing::Message() << rows << " x " << in << " x " << out << ", seed " << seed);
  Random random(seed);
  const auto integers = [&](size_t count) {
    std::vector<int8_t> values(count);
    for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    return values;
  };
  std::vector<int8_t> x = integers(size_t{rows} * in), weight = integers(size_t{out} * in);
  for (uint32_t k = 0; k < in; ++k) x[k] = weight[k] = k % 3 == 0 ? -127 : 127;  // the largest sum
  std::vector<int32_t> sums(size_t{rows} * out);
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t c = 0; c < out; ++c) {
      for (uint32_t k = 0; k < in; ++k) sums[row * out + c] += int32_t{x[row * in + k]} * weight[c * in + k];
    }
  }
  const DeviceArray<int8_t> d_x(x), d_weight(weight);
  const DeviceArray<int32_t> d_sums(sums);
  const DeviceArray<float> d_row_scale(random.floats(rows, 0, 1e-2F)), d_column_scale(random.floats(out, 0, 1e-2F));
  const std::vector<T> before(size_t{rows} * y_stride, as_type<T>(-77));
  const DeviceArray<T> d_y(before), d_expected(before);
  integer_product(Stream{}, IntegerProduct<T>{d_x.data(), d_row_scale.data(), d_weight.data(), d_column_scale.data(), d_y.data(), rows, in,
                                              out, y_stride});
  dequantize_rows(Stream{},
                  DequantizeRows<T>{d_sums.data(), d_row_scale.data(), d_column_scale.data(), d_expected.data(), rows, out, y_stride});
  const std::vector<T> found = d_y.read(), expected = d_expected.read();
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(as_float(found[i]), as_float(expected[i])) << "row " << i / y_stride << " column " << i % y_stride;
  }
}

TYPED_TEST(IntegerProductCuda, IsExactBeforeItsOneRounding) {
  expect_exact<TypeParam>({1, 16, 16, 16});
  expect_exact<TypeParam>({33, 48, 32, 40});   // a step and half of one
  expect_exact<TypeParam>({64, 64, 64, 64});   // one block of the small ones
  expect_exact<TypeParam>({70, 80, 80, 88});   // parts of blocks on both sides
  expect_exact<TypeParam>({65, 336, 16, 16});  // more steps than stages
}

TYPED_TEST(IntegerProductCuda, ManyBlocks) {  // of the large ones on up to 132 multiprocessors
  expect_exact<TypeParam>({12 * 128 - 5, 32, 11 * 128 + 16, 11 * 128 + 24});
}

TYPED_TEST(IntegerProductCuda, NoRows) { integer_product(Stream{}, IntegerProduct<TypeParam>{}); }

}  // namespace
}  // namespace pets::kernels::cuda
