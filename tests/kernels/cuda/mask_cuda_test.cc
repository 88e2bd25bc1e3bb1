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

constexpr uint32_t kMaskStride = 2, kMaskSite = 1;  // of the operators of a slot, the one that is tested

/// infinite: some weights that every mask but the one of ones leaves out are infinities; that one's task has no mask then.
template <class T>
void expect_products(uint32_t in, uint32_t out, uint32_t out_stride, bool infinite) {
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
  enum Slot : uint16_t { kRandom, kOnes, kZeros, kNone, kSlots };
  const std::vector<RowTile> tiles = {{0, 1, kRandom}, {1, 7, kOnes}, {8, 16, kRandom}, {25, 5, kNone}, {30, 3, kZeros}, {33, 7, kRandom}};
  const uint32_t rows = 40;
  std::vector<float> x = floats(size_t{rows} * in), y = floats(size_t{rows} * out_stride), weight = floats(size_t{out} * in);
  for (size_t at = 0; infinite && at < weight.size(); at += 7)
    weight[at] = (at % 2 == 0 ? 1.0F : -1.0F) * std::numeric_limits<float>::infinity();
  const DeviceArray<T> d_x(rounded<T>(x)), d_y(rounded<T>(y)), d_weight(rounded<T>(weight));
  const std::vector<T> before = d_y.read();

  std::vector<std::vector<bool>> keeps;
  std::vector<DeviceArray<uint32_t>> d_planes;
  std::vector<TaskLinear> linears(kSlots * kMaskStride);
  for (uint16_t slot = 0; slot < kNone; ++slot) {
    std::vector<bool>& keep = keeps.emplace_back(weight.size());
    std::vector<uint8_t> bits(weight.size() / 8);  // `in` is a multiple of 8
    for (size_t at = 0; at < weight.size(); ++at) {
      keep[at] = slot == kOnes || (slot == kRandom && !std::isinf(weight[at]) && random() % 2 == 0);
      bits[at / 8] |= static_cast<uint8_t>((keep[at] ? 1U : 0U) << at % 8);
    }
    std::vector<uint32_t> planes(out / kPanelColumns * bit_plane_words(in));
    pack_bit_planes16(bits.data(), out, in, planes.data());
    if (slot != kOnes || !infinite) linears[slot * kMaskStride + kMaskSite].mask = d_planes.emplace_back(planes).data();
  }
  const DeviceArray<TaskLinear> d_linears(linears);
  const DeviceArray<RowTile> d_tiles(tiles);
  const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{static_cast<uint32_t>(tiles.size())});

  Mask<T> call;
  call.x = d_x.data();
  call.weight = d_weight.data();
  call.y = d_y.data();
  call.in = in;
  call.out = out;
  call.out_stride = out_stride;
  call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + 1};
  call.linears = {d_linears.data() + kMaskSite, kMaskStride};
  mask(Stream{}, call);

  const std::vector<T> found = d_y.read();
  std::vector<bool> written(found.size());
  const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0;  // error of rounding a subnormal
  for (const RowTile& tile : tiles) {
    if (linears[tile.slot * kMaskStride + kMaskSite].mask == nullptr) continue;
    for (uint32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
      for (uint32_t c = 0; c < out; ++c) {
        double expected = 0, magnitude = 0;
        for (uint32_t k = 0; k < in; ++k) {
          if (!keeps[tile.slot][size_t{c} * in + k]) continue;
          const double product = double{x[size_t{row} * in + k]} * weight[size_t{c} * in + k];
          expected += product;
          magnitude += std::abs(product);
        }
        const size_t at = size_t{row} * out_stride + c;
        const double error = magnitude == 0 ? 0 : in * 0x1p-23 * magnitude + smallest;  // tensor cores may truncate where they add
        EXPECT_NEAR(as_float(found[at]), expected, error + rounding<T>() * (std::abs(expected) + error))
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

TYPED_TEST(MaskCuda, MultipliesByTheKeptWeights) {
  expect_products<TypeParam>(32, 16, 16, false);
  expect_products<TypeParam>(48, 32, 32, true);
  // A part of a step, and a block whose warps do not all have columns.
  expect_products<TypeParam>(96, 80, 88, false);
}

TYPED_TEST(MaskCuda, InputsInSeveralChunks) { expect_products<TypeParam>(544, 32, 32, false); }

TYPED_TEST(MaskCuda, InfinitiesThatAreMaskedOutDoNotShow) { expect_products<TypeParam>(64, 48, 48, true); }

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
