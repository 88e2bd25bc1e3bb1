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

/// An operator's arrays as the kernel has them.
class DeviceEntries {
 public:
  DeviceEntries(const Entries& entries, uint32_t in) {
    const auto out = static_cast<uint32_t>(entries.column_start.size() - 1);
    std::vector<SparsePanel> panels(sparse_panel_count(out));
    std::vector<uint16_t> places(sparse_group_count(entries.column_start.data(), out) * kSparseGroupEntries);
    std::vector<float> values(places.size());
    group_sparse({entries.column_start.data(), entries.rows.data(), entries.values.data(), in, out}, panels.data(), places.data(),
                 values.data());
    panels_ = DeviceArray<SparsePanel>(panels);
    places_ = DeviceArray<uint16_t>(places);
    values_ = DeviceArray<float>(values);
  }
  void describe(TaskLinear& linear) const {
    linear.sparse_panels = panels_.data();
    linear.sparse_places = places_.data();
    linear.sparse_values = values_.data();
  }

 private:
  DeviceArray<SparsePanel> panels_;
  DeviceArray<uint16_t> places_;
  DeviceArray<float> values_;
};

/// Densities of the slots' operators at each site; less than 0: none.
using Densities = std::vector<std::vector<double>>;
const Densities kOneSite = {{0.005}, {0.05}, {0.0}, {-1}};

/// Tiles that a launch allows for beyond those that are there.
constexpr uint32_t kFewMore = 1, kManyMore = 150;

template <class T>
void expect_sums(uint32_t in, uint32_t out, uint32_t out_stride, const Densities& densities = kOneSite, uint32_t more = kFewMore) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "in " << in << " out " << out << " seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto floats = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  };

  // Row 24 is in no tile.
  const std::vector<RowTile> tiles = {{0, 1, 0}, {1, 7, 1}, {8, 16, 2}, {25, 5, 3}, {30, 7, 0}, {37, 1, 1}};
  const uint32_t rows = 38;
  std::vector<float> x = floats(size_t{rows} * in), y = floats(size_t{rows} * out_stride);
  for (size_t at = 0; at < y.size(); at += 3) y[at] = -0.0F;  // adding +0 would show
  const DeviceArray<T> d_x(rounded<T>(x)), d_y(rounded<T>(y));
  const std::vector<T> before = d_y.read();

  // Entries in no order, one of an input that another has too; every third column empty.
  const auto sites = static_cast<uint32_t>(densities.front().size()), stride = kSparseStride + sites - 1;
  std::vector<Entries> operators;  // of every slot and site
  std::vector<DeviceEntries> d_entries;
  std::vector<TaskLinear> linears(densities.size() * stride);
  for (size_t at = 0; at < densities.size() * sites; ++at) {
    const double density = densities[at / sites][at % sites];
    Entries& own = operators.emplace_back();
    std::poisson_distribution<uint32_t> count(1 + std::abs(density) * in);
    std::uniform_int_distribution<uint32_t> input(0, in - 1);
    own.column_start.push_back(0);
    for (uint32_t column = 0; column < out; ++column) {
      for (uint32_t left = density <= 0 || column % 3 == 2 ? 0 : count(random); left > 0; --left) {
        own.rows.push_back(static_cast<uint16_t>(input(random)));
        own.values.push_back(normal(random));
      }
      own.column_start.push_back(static_cast<uint32_t>(own.rows.size()));
    }
    if (density >= 0) d_entries.emplace_back(own, in).describe(linears[at / sites * stride + kSparseSite + at % sites]);
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
  call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + more};
  call.linears = {d_linears.data() + kSparseSite, stride};
  call.sites = sites;
  sparse(Stream{}, call);

  const std::vector<T> found = d_y.read();
  std::vector<bool> written(found.size());
  const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0;  // error of rounding a subnormal
  for (const RowTile& tile : tiles) {
    for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      for (uint32_t n = 0; n < sites * out; ++n) {
        const Entries& own = operators[tile.slot * sites + n / out];
        const size_t at = size_t{row} * out_stride + n;
        const uint32_t begin = own.column_start[n % out], end = own.column_start[n % out + 1];
        double expected = y[at], magnitude = std::abs(expected);
        for (uint32_t j = begin; j < end; ++j) {
          const double product = double{x[size_t{row} * in + own.rows[j]]} * own.values[j];
          expected += product;
          magnitude += std::abs(product);
        }
        if (begin == end) continue;
        // A product is rounded at most once for each entry of its run, and once for every other run of the column, which has an entry at
        // least; the addition of y is one more. Of sums of at most 1,000 entries.
        const double error = (end - begin + 1) * 0x1p-24 * magnitude * (1 + 0x1p-10);
        EXPECT_NEAR(as_float(found[at]), expected, error + rounding<T>() * (std::abs(expected) + error) + smallest)
            << "row " << row << " column " << n;
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
  expect_sums<TypeParam>(8, 8, 8);
  expect_sums<TypeParam>(40, 296, 312);
}

TYPED_TEST(SparseCuda, WarpsOfOnePanelAndOfSeveral) {
  expect_sums<TypeParam>(16, 1096, 1096);
  expect_sums<TypeParam>(16, 4808, 4816);
}

// Columns of several runs, and runs of more groups than are asked for ahead.
TYPED_TEST(SparseCuda, LongColumns) {
  const Densities dense = {{0.5}, {0.1}, {0.2}, {0.02}};
  expect_sums<TypeParam>(200, 8, 8, dense);
  expect_sums<TypeParam>(200, 40, 40, dense);
}

// Tasks that have an operator at some of the sites, or at none.
TYPED_TEST(SparseCuda, NeighbouringSites) {
  expect_sums<TypeParam>(40, 16, 48, {{0.05, -1, 0.3}, {-1, 0.1, 0.1}, {-1, -1, 0.2}, {-1, -1, -1}});
  const Densities wide = {{0.05, 0.05, 0.05}, {0.05, -1, 0.1}, {0.1, 0.02, 0.2}, {0.0, 0.1, -1}};
  expect_sums<TypeParam>(64, 384, 3 * 384 + 8, wide);
  expect_sums<TypeParam>(64, 384, 3 * 384 + 8, wide, kManyMore);
}

// A block has half as many rows.
TYPED_TEST(SparseCuda, InputsThatLeaveRoomForFewerRows) {
  expect_sums<TypeParam>(3080, 16, 24);
  expect_sums<TypeParam>(4096, 480, 480, {{0.002}, {0.01}, {0.0}, {-1}}, kManyMore);
}

// One launch, captured, serves every number of tiles: how their columns are shared out changes no bit, and none is left out. Of 150 panels
// a block's eight warps have one each where there is one tile, and ten, the last of them fewer, where there are 20.
TYPED_TEST(SparseCuda, AnyNumberOfTilesInOneLaunch) {
  constexpr uint32_t kIn = 24, kOut = 1592, kSites = 3, kStride = kSites * kOut, kTileRows = 3, kTiles = 20, kMost = 32;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto values = [&](size_t count) {
    std::vector<float> made(count);
    for (float& value : made) value = normal(random);
    return rounded<TypeParam>(made);
  };
  std::vector<DeviceEntries> d_entries;
  std::vector<TaskLinear> linears(kSites);
  for (uint32_t site = 0; site < kSites; ++site) {
    Entries entries{{0}, {}, {}};
    for (uint32_t column = 0; column < kOut; ++column) {
      for (uint64_t left = 1 + random() % 8; left > 0; --left) {
        entries.rows.push_back(static_cast<uint16_t>(random() % kIn));
        entries.values.push_back(1 + std::abs(normal(random)));
      }
      entries.column_start.push_back(static_cast<uint32_t>(entries.rows.size()));
    }
    d_entries.emplace_back(entries, kIn).describe(linears[site]);
  }
  std::vector<RowTile> tiles;
  for (uint32_t tile = 0; tile < kTiles; ++tile) tiles.push_back({tile * kTileRows, kTileRows, 0});
  // Zeros, so that rounding y hides no difference of sums that are not close to it.
  const DeviceArray<TypeParam> d_x(values(size_t{kTiles} * kTileRows * kIn));
  const std::vector<TypeParam> zeros(size_t{kTiles} * kTileRows * kStride, as_type<TypeParam>(0));
  const DeviceArray<TaskLinear> d_linears(linears);
  const DeviceArray<RowTile> d_tiles(tiles);
  const auto found_of = [&](uint32_t count) {
    const DeviceArray<TypeParam> d_y(zeros);
    const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{count});
    Sparse<TypeParam> call;
    call.x = d_x.data();
    call.y = d_y.data();
    call.in = kIn;
    call.out = kOut;
    call.out_stride = kStride;
    call.tiles = {d_tiles.data(), d_count.data(), kMost};
    call.linears = {d_linears.data(), kSites};
    call.sites = kSites;
    sparse(Stream{}, call);
    return d_y.read();
  };
  const std::vector<TypeParam> all = found_of(kTiles);
  for (size_t at = 0; at < all.size(); ++at) ASSERT_NE(as_float(all[at]), 0) << "row " << at / kStride << " column " << at % kStride;
  for (const uint32_t count : {0U, 1U, 4U, 12U}) {
    const std::vector<TypeParam> found = found_of(count);
    const size_t there = size_t{count} * kTileRows * kStride;
    EXPECT_EQ(std::memcmp(found.data(), all.data(), there * sizeof(TypeParam)), 0) << count << " tiles";
    EXPECT_EQ(std::memcmp(found.data() + there, zeros.data(), (zeros.size() - there) * sizeof(TypeParam)), 0) << count << " tiles";
  }
}

// What fills up a column's last group has nothing of other inputs.
TYPED_TEST(SparseCuda, AnInfiniteInputShowsInItsColumnsAlone) {
  constexpr uint32_t kIn = 8, kOut = 32, kInfinite = 3;
  std::vector<float> x(kIn, 1), y(kOut, 1);
  x[kInfinite] = INFINITY;
  const DeviceArray<TypeParam> d_x(rounded<TypeParam>(x)), d_y(rounded<TypeParam>(y));
  Entries entries{{0}, {}, {}};
  for (uint32_t column = 0; column < kOut; ++column) {
    entries.rows.push_back(column % kIn);
    entries.values.push_back(1);
    entries.column_start.push_back(column + 1);
  }
  const DeviceEntries d_entries(entries, kIn);
  std::vector<TaskLinear> linears(1);
  d_entries.describe(linears[0]);
  const DeviceArray<TaskLinear> d_linears(linears);
  const DeviceArray<RowTile> d_tiles(std::vector<RowTile>{{0, 1, 0}});
  Sparse<TypeParam> call;
  call.x = d_x.data();
  call.y = d_y.data();
  call.in = kIn;
  call.out = call.out_stride = kOut;
  call.tiles = {d_tiles.data(), nullptr, 1};
  call.linears = {d_linears.data(), 1};
  sparse(Stream{}, call);
  const std::vector<TypeParam> found = d_y.read();
  for (uint32_t column = 0; column < kOut; ++column) {
    EXPECT_EQ(as_float(found[column]), column % kIn == kInfinite ? INFINITY : 2) << "column " << column;
  }
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
