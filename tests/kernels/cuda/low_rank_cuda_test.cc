#include "kernels/low_rank/low_rank_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "tests/kernels/cuda/device_array.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class LowRankCuda : public ::testing::Test {};
TYPED_TEST_SUITE(LowRankCuda, ActivationTypes);

constexpr uint32_t kLowRankStride = 5, kLowRankSite = 1;  // of the operators of a slot, the first one that is tested

struct Shape {
  uint32_t in, out, out_stride;
  std::vector<uint32_t> ranks;  // of the slots at the first site, from the second slot on at the next; 0: none
  uint32_t sites = 1;
  uint32_t rank(uint32_t slot, uint32_t site) const { return ranks[(slot + site) % ranks.size()]; }
};

template <class T>
void expect_products(const Shape& shape) {
  const auto [in, out, out_stride, ranks, sites] = shape;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "in " << in << " out " << out << " seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto floats = [&](size_t count, float deviation) {
    std::vector<float> values(count);
    for (float& value : values) value = deviation * normal(random);
    return values;
  };

  // Rows 24 to 26 are in no tile; a launched block more than there are tiles.
  const std::vector<RowTile> tiles = {{0, 1, 0}, {1, 7, 1}, {8, 16, 2}, {27, 7, 3}, {34, 3, 0}, {37, 7, 2}, {44, 32, 1}, {76, 19, 0}};
  const uint32_t rows = 95;
  std::vector<float> x = floats(size_t{rows} * in, 1), y = floats(size_t{rows} * out_stride, 1);
  const DeviceArray<T> d_x(rounded<T>(x)), d_y(rounded<T>(y));
  const std::vector<T> before = d_y.read();

  std::vector<std::vector<float>> a, b;
  std::vector<DeviceArray<T>> d_operands;
  std::vector<TaskLinear> linears(ranks.size() * kLowRankStride);
  uint32_t most_rank = 0;
  for (size_t i = 0; i < sites * ranks.size(); ++i) {
    const size_t slot = i % ranks.size(), site = i / ranks.size();
    const uint32_t rank = shape.rank(static_cast<uint32_t>(slot), static_cast<uint32_t>(site));
    a.push_back(floats(size_t{rank} * in, 1 / std::sqrt(static_cast<float>(in))));
    b.push_back(floats(size_t{out} * rank, 1));
    if (rank == 0) continue;
    TaskLinear& linear = linears[slot * kLowRankStride + kLowRankSite + site];
    linear.low_rank_a = d_operands.emplace_back(rounded<T>(a.back())).data();
    linear.low_rank_b = d_operands.emplace_back(rounded<T>(b.back())).data();
    linear.rank = rank;
    most_rank = std::max(most_rank, rank);
  }
  const DeviceArray<TaskLinear> d_linears(linears);
  const DeviceArray<RowTile> d_tiles(tiles);
  const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{static_cast<uint32_t>(tiles.size())});

  LowRank<T> call;
  call.x = d_x.data();
  call.y = d_y.data();
  call.in = in;
  call.out = out;
  call.out_stride = out_stride;
  call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + 1};
  call.linears = {d_linears.data() + kLowRankSite, kLowRankStride};
  call.most_rank = most_rank;
  call.sites = sites;
  low_rank(Stream{}, call);

  const std::vector<T> found = d_y.read();
  std::vector<bool> written(found.size());
  const double epsilon = rounding<T>(), sum_epsilon = 0x1p-23;    // tensor cores may truncate where they add
  const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0;  // error of rounding a subnormal
  for (uint32_t i = 0; i < sites * tiles.size(); ++i) {
    const RowTile& tile = tiles[i % tiles.size()];
    const uint32_t site = i / static_cast<uint32_t>(tiles.size()), rank = shape.rank(tile.slot, site);
    const std::vector<float>&own_a = a[site * ranks.size() + tile.slot], &own_b = b[site * ranks.size() + tile.slot];
    if (rank == 0) continue;
    for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      std::vector<double> z(rank), z_error(rank);
      for (uint32_t r = 0; r < rank; ++r) {
        double magnitude = 0;
        for (uint32_t k = 0; k < in; ++k) {
          const double product = double{x[size_t{row} * in + k]} * own_a[size_t{r} * in + k];
          z[r] += product;
          magnitude += std::abs(product);
        }
        z_error[r] = in * sum_epsilon * magnitude * (1 + epsilon) + epsilon * std::abs(z[r]) + smallest;
      }
      for (uint32_t c = 0; c < out; ++c) {
        const size_t at = size_t{row} * out_stride + site * out + c;
        double expected = y[at], magnitude = std::abs(expected), error = 0;
        for (uint32_t r = 0; r < rank; ++r) {
          const double factor = own_b[size_t{c} * rank + r];
          expected += z[r] * factor;
          magnitude += (std::abs(z[r]) + z_error[r]) * std::abs(factor);
          error += z_error[r] * std::abs(factor);
        }
        error += (rank + 1) * sum_epsilon * magnitude;
        EXPECT_NEAR(as_float(found[at]), expected, error + epsilon * (std::abs(expected) + error) + smallest)
            << "row " << row << " column " << c;
        written[at] = true;
      }
    }
  }
  for (size_t at = 0; at < found.size(); ++at) {
    if (written[at]) continue;
    EXPECT_EQ(std::memcmp(&found[at], &before[at], sizeof(T)), 0) << "row " << at / out_stride << " column " << at % out_stride;
  }
}

TYPED_TEST(LowRankCuda, AddsTheProductOfEveryTasksRank) {
  expect_products<TypeParam>({64, 80, 80, {16, 32, 64, 0}});
  // Three groups of columns, the last with fewer.
  expect_products<TypeParam>({16, 208, 240, {0, 16, 48, 16}});
}

TYPED_TEST(LowRankCuda, InputsInSeveralChunks) { expect_products<TypeParam>({544, 16, 24, {64, 16, 32, 0}}); }

TYPED_TEST(LowRankCuda, RanksBeyondOnePass) { expect_products<TypeParam>({32, 32, 32, {80, 256, 16, 0}}); }

TYPED_TEST(LowRankCuda, NeighbouringSites) { expect_products<TypeParam>({48, 32, 112, {16, 0, 32, 48}, 3}); }

TYPED_TEST(LowRankCuda, NothingToLaunch) {
  low_rank(Stream{}, LowRank<TypeParam>{});
  const DeviceArray<uint32_t> count(std::vector<uint32_t>{0});
  LowRank<TypeParam> call;
  call.in = call.out = call.out_stride = call.most_rank = 16;
  call.tiles = {nullptr, count.data(), 2};
  low_rank(Stream{}, call);
}

}  // namespace
}  // namespace pets::kernels::cuda
