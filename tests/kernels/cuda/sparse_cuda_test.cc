#include "kernels/sparse/sparse_cuda.h"

#include <cmath>
#include <cstring>
#include <random>

#include "tests/kernels/cuda/device_array.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class SparseCuda : public ::testing::Test {};
TYPED_TEST_SUITE(SparseCuda, ActivationTypes);

constexpr uint32_t kSparseStride = 2, kSparseSite = 1;  // of the operators of a slot, the one that is tested

struct Entries {
  std::vector<uint32_t> column_start;
  std::vector<uint16_t> rows;
  std::vector<float> values;
};

template <class T>
void expect_sums(uint32_t in, uint32_t out, uint32_t out_stride) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "in " << in << " out " << out << " seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto floats = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  };

  // Row 24 is in no tile; a launched block more than there are tiles.
  const std::vector<RowTile> tiles = {{0, 1, 0}, {1, 7, 1}, {8, 16, 2}, {25, 5, 3}, {30, 7, 0}, {37, 1, 1}};
  const uint32_t rows = 38;
  std::vector<float> x = floats(size_t{rows} * in), y = floats(size_t{rows} * out_stride);
  for (size_t at = 0; at < y.size(); at += 3) y[at] = -0.0F;  // adding +0 would show
  const DeviceArray<T> d_x(rounded<T>(x)), d_y(rounded<T>(y));
  const std::vector<T> before = d_y.read();

  // Entries in no order, one of an input that another has too; every third column empty. Slot 3: none.
  std::vector<Entries> tasks;
  std::vector<DeviceArray<uint32_t>> d_starts;
  std::vector<DeviceArray<uint16_t>> d_rows;
  std::vector<DeviceArray<float>> d_values;
  std::vector<TaskLinear> linears(4 * kSparseStride);
  for (const double density : {0.005, 0.05, 0.0}) {
    TaskLinear& linear = linears[tasks.size() * kSparseStride + kSparseSite];
    Entries& task = tasks.emplace_back();
    std::poisson_distribution<uint32_t> count(1 + density * in);
    std::uniform_int_distribution<uint32_t> input(0, in - 1);
    task.column_start.push_back(0);
    for (uint32_t column = 0; column < out; ++column) {
      for (uint32_t left = density == 0 || column % 3 == 2 ? 0 : count(random); left > 0; --left) {
        task.rows.push_back(static_cast<uint16_t>(input(random)));
        task.values.push_back(normal(random));
      }
      task.column_start.push_back(static_cast<uint32_t>(task.rows.size()));
    }
    linear.sparse_column_start = d_starts.emplace_back(task.column_start).data();
    linear.sparse_rows = d_rows.emplace_back(task.rows).data();
    linear.sparse_values = d_values.emplace_back(task.values).data();
  }
  const DeviceArray<TaskLinear> d_linears(linears);
  const DeviceArray<RowTile> d_tiles(tiles);
  const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{static_cast<uint32_t>(tiles.size())});

  Sparse<T> call;
  call.x = d_x.data();
  call.y = d_y.data();
  call.in = in;
  call.out = out;
  call.out_stride = out_stride;
  call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + 1};
  call.linears = {d_linears.data() + kSparseSite, kSparseStride};
  sparse(Stream{}, call);

  const std::vector<T> found = d_y.read();
  std::vector<bool> written(found.size());
  const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0;  // error of rounding a subnormal
  for (const RowTile& tile : tiles) {
    if (tile.slot >= tasks.size()) continue;
    const Entries& task = tasks[tile.slot];
    for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      for (uint32_t c = 0; c < out; ++c) {
        const size_t at = size_t{row} * out_stride + c;
        const uint32_t begin = task.column_start[c], end = task.column_start[c + 1];
        double expected = y[at], magnitude = std::abs(expected);
        for (uint32_t j = begin; j < end; ++j) {
          const double product = double{x[size_t{row} * in + task.rows[j]]} * task.values[j];
          expected += product;
          magnitude += std::abs(product);
        }
        if (begin == end) continue;
        const double error = (end - begin) * 0x1p-24 * magnitude * (1 + 0x1p-10);  // of sums of at most 1,000 entries
        EXPECT_NEAR(as_float(found[at]), expected, error + rounding<T>() * (std::abs(expected) + error) + smallest)
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

TYPED_TEST(SparseCuda, AddsEveryTasksEntries) {
  expect_sums<TypeParam>(8, 5, 5);
  expect_sums<TypeParam>(40, 300, 310);
}

TYPED_TEST(SparseCuda, ThreadsWithSeveralColumns) { expect_sums<TypeParam>(16, 1100, 1100); }

// A block has half, then a quarter as many rows.
TYPED_TEST(SparseCuda, InputsThatLeaveRoomForFewerRows) {
  expect_sums<TypeParam>(1544, 16, 16);
  expect_sums<TypeParam>(3080, 16, 19);
  expect_sums<TypeParam>(4096, 16, 16);
}

TYPED_TEST(SparseCuda, NothingToLaunch) {
  sparse(Stream{}, Sparse<TypeParam>{});
  const DeviceArray<uint32_t> count(std::vector<uint32_t>{0});
  Sparse<TypeParam> call;
  call.in = call.out = call.out_stride = 8;
  call.tiles = {nullptr, count.data(), 2};
  sparse(Stream{}, call);
}

}  // namespace
}  // namespace pets::kernels::cuda
