#include "kernels/mask/mask_cuda.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/kernels/cuda/device_array.h"

#include "kernels/mask/mask.h"

namespace pets::kernels::cuda {
namespace {

template <class T>
class MaskCuda : public ::testing::Test {};
TYPED_TEST_SUITE(MaskCuda, ActivationTypes);

constexpr uint32_t kMaskSite = 1;  // of the operators of a slot, the first one that is tested

/// kRandomMask has a mask at every site, kMaskOfOnes at every other one.
enum MaskSlot : uint16_t { kRandomMask, kMaskOfOnes, kMaskOfZeros, kNoMask, kMaskSlots };

struct MaskShape {
  uint32_t in, out, out_stride;
  uint32_t sites = 1;
  /// Some weights that every mask but the one of ones leaves out are infinities; that one's task has no mask then.
  bool infinite = false;
};

/// Rows 24 and 40 are in no tile, and the last tile ends where x does.
const std::vector<RowTile> kMaskTestTiles = {{0, 1, kRandomMask},   {1, 7, kMaskOfOnes},     {8, 16, kRandomMask},
                                             {25, 5, kNoMask},      {30, 3, kMaskOfZeros},   {33, 7, kRandomMask},
                                             {41, 64, kMaskOfOnes}, {105, 33, kMaskOfZeros}, {138, 47, kRandomMask}};

std::vector<RowTile> mask_tiles_of_one_row(uint32_t count) {
  std::vector<RowTile> tiles;
  for (uint32_t row = 0; row < count; ++row) tiles.push_back({row, 1, static_cast<uint16_t>(row % kMaskSlots)});
  return tiles;
}

/// All of `rows`, which are more than half a tile may have, and of kRandomMask.
std::vector<RowTile> large_mask_tiles(uint32_t count, uint16_t rows) {
  std::vector<RowTile> tiles;
  for (uint32_t at = 0; at < count; ++at) tiles.push_back({at * rows, rows, kRandomMask});
  return tiles;
}

uint32_t end_of_tiles(const std::vector<RowTile>& tiles) { return tiles.back().first_row + tiles.back().rows; }

template <class T>
class Masked {
 public:
  Masked(const MaskShape& shape, uint32_t rows, uint64_t seed) : shape_(shape), random_(seed) {
    const auto& [in, out, out_stride, sites, infinite] = shape;
    const size_t site_weights = size_t{out} * in;
    std::vector<float> weight = floats(sites * site_weights), x = floats(size_t{rows} * in), y = floats(size_t{rows} * out_stride);
    for (size_t at = 0; infinite && at < weight.size(); at += 7)
      weight[at] = (at % 2 == 0 ? 1.0F : -1.0F) * std::numeric_limits<float>::infinity();
    d_x_ = DeviceArray<T>(rounded<T>(x));
    d_weight_ = DeviceArray<T>(rounded<T>(weight));
    before_ = rounded<T>(y);
    x_ = std::move(x);

    linears_.resize(size_t{kMaskSlots} * stride());
    for (uint16_t slot = 0; slot < kMaskSlots; ++slot) {
      for (uint32_t site = 0; site < sites; ++site) {
        std::vector<float>& kept = kept_.emplace_back();  // empty: no mask
        if (slot == kNoMask || (slot == kMaskOfOnes && (infinite || site % 2 != 0))) continue;
        kept.resize(site_weights);
        std::vector<uint8_t> bits(site_weights / 8);  // `in` is a multiple of 8
        for (size_t at = 0; at < site_weights; ++at) {
          const float own = weight[site * site_weights + at];
          const bool keep = slot == kMaskOfOnes || (slot == kRandomMask && !std::isinf(own) && random_() % 2 == 0);
          kept[at] = keep ? own : 0;
          bits[at / 8] |= static_cast<uint8_t>((keep ? 1U : 0U) << at % 8);
        }
        std::vector<uint32_t> planes(out / kPanelColumns * bit_plane_words(in));
        pack_bit_planes16(bits.data(), out, in, planes.data());
        linears_[slot * stride() + kMaskSite + site].mask = d_planes_.emplace_back(planes).data();
      }
    }
  }

  std::vector<T> run(const std::vector<RowTile>& tiles) const {
    const DeviceArray<T> d_y(before_);
    const DeviceArray<TaskLinear> d_linears(linears_);
    const DeviceArray<RowTile> d_tiles(tiles);
    const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{static_cast<uint32_t>(tiles.size())});
    Mask<T> call;
    call.x = d_x_.data();
    call.weight = d_weight_.data();
    call.y = d_y.data();
    call.in = shape_.in;
    call.out = shape_.out;
    call.out_stride = shape_.out_stride;
    call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + 1};  // more blocks than there are tiles for
    call.linears = {d_linears.data() + kMaskSite, stride()};
    call.sites = shape_.sites;
    mask(Stream{}, call);
    return d_y.read();
  }

  void expect(const std::vector<RowTile>& tiles, const std::vector<T>& found) const {
    const auto& [in, out, out_stride, sites, infinite] = shape_;
    std::vector<bool> written(found.size());
    const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0;  // error of rounding a subnormal
    for (const RowTile& tile : tiles) {
      for (uint32_t site = 0; site < sites; ++site) {
        const std::vector<float>& kept = kept_[tile.slot * sites + site];
        for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows && !kept.empty(); ++row) {
          for (uint32_t c = 0; c < out; ++c) {
            double expected = 0, magnitude = 0;
            for (uint32_t k = 0; k < in; ++k) {
              const double product = double{x_[size_t{row} * in + k]} * kept[size_t{c} * in + k];
              expected += product;
              magnitude += std::abs(product);
            }
            const size_t at = size_t{row} * out_stride + site * out + c;
            const double error = magnitude == 0 ? 0 : in * 0x1p-23 * magnitude + smallest;  // tensor cores may truncate where they add
            EXPECT_NEAR(as_float(found[at]), expected, error + rounding<T>() * (std::abs(expected) + error))
                << "row " << row << " site " << site << " column " << c;
            written[at] = true;
          }
        }
      }
    }
    for (size_t at = 0; at < found.size(); ++at) {
      if (written[at]) continue;
      EXPECT_EQ(std::memcmp(&found[at], &before_[at], sizeof(T)), 0) << "row " << at / out_stride << " column " << at % out_stride;
    }
  }

 private:
  uint32_t stride() const { return kMaskSite + shape_.sites; }
  std::vector<float> floats(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }

  MaskShape shape_;
  std::mt19937_64 random_;
  DeviceArray<T> d_x_, d_weight_;
  std::vector<float> x_;
  std::vector<T> before_;
  std::vector<TaskLinear> linears_;
  std::vector<DeviceArray<uint32_t>> d_planes_;
  std::vector<std::vector<float>> kept_;  // [slots][sites]
};

template <class T>
void expect_masked(const MaskShape& shape, const std::vector<RowTile>& tiles = kMaskTestTiles) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "in " << shape.in << " out " << shape.out << " seed " << seed);
  const Masked<T> masked(shape, end_of_tiles(tiles), seed);
  masked.expect(tiles, masked.run(tiles));
}

TYPED_TEST(MaskCuda, MultipliesByTheKeptWeights) {
  expect_masked<TypeParam>({32, 16, 16});
  expect_masked<TypeParam>({48, 32, 32});
  // A part of a step, and a block whose warps do not all have columns.
  expect_masked<TypeParam>({96, 80, 88});
}

TYPED_TEST(MaskCuda, InputsInSeveralStages) {
  expect_masked<TypeParam>({544, 32, 32});
  expect_masked<TypeParam>({16, 32, 32});
}

TYPED_TEST(MaskCuda, InfinitiesThatAreMaskedOutDoNotShow) { expect_masked<TypeParam>({64, 48, 48, 1, true}); }

TYPED_TEST(MaskCuda, NeighbouringSitesInOneLaunch) {
  expect_masked<TypeParam>({80, 48, 152, 3});
  expect_masked<TypeParam>({32, 144, 432, 3});  // of one site, a group of columns and a part
}

/// More items than any device has blocks for: wide ones, of which the last has one tile.
TYPED_TEST(MaskCuda, ManyTiles) { expect_masked<TypeParam>({112, 144, 144}, mask_tiles_of_one_row(201)); }

/// A block begins its next item when all of its threads have stored the last one's rows.
TYPED_TEST(MaskCuda, ManyItemsOfManyRows) { expect_masked<TypeParam>({128, 64, 2112, 33}, large_mask_tiles(3, 40)); }

/// Of the tiles that a block takes together, none has a mask, or one of them; the block has other items before and after.
TYPED_TEST(MaskCuda, ManyTilesWithoutMasks) {
  std::vector<RowTile> tiles = mask_tiles_of_one_row(301);
  for (uint32_t row = 0; row < tiles.size(); ++row) tiles[row].slot = row % 7 < 5 ? kNoMask : kRandomMask;
  expect_masked<TypeParam>({80, 112, 112}, tiles);
}

TYPED_TEST(MaskCuda, AnOutputDoesNotDependOnTheNumberOfTiles) {
  const std::vector<RowTile> tiles = mask_tiles_of_one_row(201);
  const Masked<TypeParam> masked({96, 144, 288, 2}, end_of_tiles(tiles), std::random_device()());
  const std::vector<TypeParam> all = masked.run(tiles), one = masked.run({tiles[4]});
  const size_t first = tiles[4].first_row * size_t{288};
  EXPECT_EQ(std::memcmp(&all[first], &one[first], 288 * sizeof(TypeParam)), 0);
}

/// int8: the sums are exact, so is what is made of them. Two sites, and columns that fill no group.
TYPED_TEST(MaskCuda, MultipliesTheKeptIntegersExactly) {
  using T = TypeParam;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  constexpr uint32_t kSites = 2, kOut = 144, kStride = kSites * kOut + 8, kOperators = kMaskSite + kSites;
  for (const uint32_t in : {16U, 32U, 80U, 464U}) {
    const std::vector<RowTile>& tiles = kMaskTestTiles;
    const uint32_t rows = end_of_tiles(tiles);
    const auto integers = [&](size_t count) {
      std::vector<int8_t> values(count);
      for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
      return values;
    };
    const auto scales = [&](size_t count) {
      std::vector<float> values(count);
      for (float& value : values) value = std::uniform_real_distribution<float>(0, 1e-2F)(random);
      return values;
    };
    const std::vector<int8_t> x = integers(size_t{rows} * in), weight = integers(size_t{kSites} * kOut * in);
    const std::vector<float> row_scale = scales(rows), column_scale = scales(kSites * kOut);
    std::vector<uint8_t> bits(weight.size() / 8);  // one mask a site
    for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random());
    const size_t words = kOut / kPanelColumns * bit_plane_words(in);
    std::vector<uint32_t> planes(kSites * words);
    for (uint32_t site = 0; site < kSites; ++site) {
      pack_bit_planes16(bits.data() + site * kOut * in / 8, kOut, in, planes.data() + site * words);
    }
    const DeviceArray<int8_t> d_x(x), d_weight(weight);
    const DeviceArray<float> d_row_scale(row_scale), d_column_scale(column_scale);
    const DeviceArray<uint32_t> d_planes(planes);
    const std::vector<T> before(size_t{rows} * kStride, as_type<T>(-77));
    const DeviceArray<T> d_y(before);
    std::vector<TaskLinear> linears(size_t{kMaskSlots} * kOperators);
    for (uint32_t site = 0; site < kSites; ++site)
      linears[kRandomMask * kOperators + kMaskSite + site].mask = d_planes.data() + site * words;
    const DeviceArray<TaskLinear> d_linears(linears);
    const DeviceArray<RowTile> d_tiles(tiles);
    Mask<T> call;
    call.y = d_y.data();
    call.in = in;
    call.out = kOut;
    call.out_stride = kStride;
    call.tiles = {d_tiles.data(), nullptr, static_cast<uint32_t>(tiles.size())};
    call.linears = {d_linears.data() + kMaskSite, kOperators};
    call.sites = kSites;
    call.integers = {d_x.data(), d_row_scale.data(), d_weight.data(), d_column_scale.data()};
    mask(Stream{}, call);

    std::vector<T> expected = before;
    for (const RowTile& tile : tiles) {
      if (tile.slot != kRandomMask) continue;
      for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
        for (uint32_t c = 0; c < kSites * kOut; ++c) {
          int32_t sum = 0;
          for (uint32_t k = 0; k < in; ++k) {
            const size_t at = size_t{c} * in + k;
            if ((bits[at / 8] >> at % 8 & 1) != 0) sum += int32_t{x[size_t{row} * in + k]} * weight[at];
          }
          expected[size_t{row} * kStride + c] = as_type<T>(static_cast<float>(sum) * (row_scale[row] * column_scale[c]));
        }
      }
    }
    const std::vector<T> found = d_y.read();
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(as_float(found[i]), as_float(expected[i])) << "in " << in << " row " << i / kStride << " column " << i % kStride;
    }
  }
}

/// Wherever its rows are among those of a block, and as often as stages are filled again.
TYPED_TEST(MaskCuda, AnOutputOfALargeTileDoesNotDependOnTheNumberOfTiles) {
  const std::vector<RowTile> tiles = large_mask_tiles(10, 59);
  const Masked<TypeParam> masked({992, 112, 112}, end_of_tiles(tiles), std::random_device()());
  const std::vector<TypeParam> all = masked.run(tiles);
  for (const uint32_t tile : {4U, 7U}) {
    const std::vector<TypeParam> one = masked.run({tiles[tile]});
    const size_t first = tiles[tile].first_row * size_t{112}, count = tiles[tile].rows * size_t{112};
    EXPECT_EQ(std::memcmp(&all[first], &one[first], count * sizeof(TypeParam)), 0) << "tile " << tile;
  }
}

TYPED_TEST(MaskCuda, NothingToLaunch) {
  mask(Stream{}, Mask<TypeParam>{});
  const DeviceArray<uint32_t> count(std::vector<uint32_t>{0});
  Mask<TypeParam> call;
  call.in = 32;
  call.out = call.out_stride = 16;
  call.tiles = {nullptr, count.data(), 2};
  mask(Stream{}, call);
}

}  // namespace
}  // namespace pets::kernels::cuda
