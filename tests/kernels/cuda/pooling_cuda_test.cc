#include "kernels/pooling/pooling_cuda.h"

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class PoolingCuda : public ::testing::Test {};
TYPED_TEST_SUITE(PoolingCuda, ActivationTypes);

/// The mean of `rows` neighbouring values that lie `width` apart, summed in any order.
Bounded mean_of(const float* values, uint32_t rows, uint32_t width) {
  BoundedRow column(rows);
  for (uint32_t r = 0; r < rows; ++r) column[r].value = values[size_t{r} * width];
  if (rows == 1) return column[0];
  const Bounded sum = product(std::vector<float>(rows, 1), column)[0];
  return with_roundings({sum.value / rows, sum.error / rows}, 1);
}

// Fewer rows than warps, as many, and more; widths of a part of a block, of one and of several; rows that overlap and lie in no order; two
// blocks more than there are rows to make.
TYPED_TEST(PoolingCuda, MeansOfEveryLength) {
  using T = TypeParam;
  constexpr uint32_t kRows = 130;
  const std::vector<PooledRow> rows = {{3, 1}, {0, 2}, {64, 3}, {60, 4}, {5, 5}, {7, 7}, {100, 16}, {1, 33}, {19, 111}, {129, 1}, {0, 130}};
  for (const uint32_t width : {8U, 48U, 256U, 264U, 1024U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "width " << width << " seed " << seed);
    Random random(seed);
    std::vector<float> hidden = random.floats(size_t{kRows} * width, 0.5F);
    const DeviceArray<T> d_hidden(rounded<T>(hidden)), d_pooled(std::vector<T>((rows.size() + 2) * width, as_type<T>(-77)));
    const DeviceArray<PooledRow> d_rows(rows);
    const auto count = static_cast<uint32_t>(rows.size());
    const DeviceArray<uint32_t> d_count({count});
    pool_rows(Stream{}, PoolRows<T>{d_hidden.data(), d_pooled.data(), width, d_rows.data(), d_count.data(), count + 2});
    const std::vector<T> found = d_pooled.read();
    for (size_t i = 0; i < found.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "pooled row " << i / width << " feature " << i % width);
      if (i / width < rows.size()) {
        const PooledRow& row = rows[i / width];
        expect_rounded(found[i], mean_of(hidden.data() + size_t{row.first_row} * width + i % width, row.rows, width));
      } else {
        EXPECT_EQ(as_float(found[i]), -77);
      }
    }
  }
}

TYPED_TEST(PoolingCuda, ASingleRowIsCopiedWhateverItHolds) {
  using T = TypeParam;
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0F, -0.0F, infinity, -infinity, 1.5F, -2.0F, 6e-8F, std::numeric_limits<float>::quiet_NaN()};
  std::vector<T> row;
  for (const float value : values) row.push_back(as_type<T>(value));
  const DeviceArray<T> hidden(row), pooled(std::vector<T>(8, as_type<T>(-77)));
  const DeviceArray<PooledRow> rows(std::vector<PooledRow>{{0, 1}});
  const DeviceArray<uint32_t> count({1});
  pool_rows(Stream{}, PoolRows<T>{hidden.data(), pooled.data(), 8, rows.data(), count.data(), 1});
  const std::vector<T> found = pooled.read();
  EXPECT_EQ(std::memcmp(found.data(), row.data(), 7 * sizeof(T)), 0);
  EXPECT_TRUE(std::isnan(as_float(found[7])));
}

TYPED_TEST(PoolingCuda, NothingToPool) {
  pool_rows(Stream{}, PoolRows<TypeParam>{});
  const DeviceArray<uint32_t> count({0});
  pool_rows(Stream{}, PoolRows<TypeParam>{nullptr, nullptr, 48, nullptr, count.data(), 2});
}

}  // namespace
}  // namespace pets::kernels::cuda
