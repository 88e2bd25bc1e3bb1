#include "kernels/mask/mask.h"

#include "tests/kernels/kernel_test.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::kernels {
namespace {

constexpr WeightType kTypes[] = {WeightType::kFloat32, WeightType::kFloat16, WeightType::kBFloat16};

class MaskTest : public KernelTest {};
PETS_FOR_EVERY_ISA(MaskTest);

TEST(BitPlanesTest, EveryBitIsWhereTheHeaderSays) {
  Random random(1);
  for (size_t out : {1, 7, 16, 33}) {
    for (size_t in : {1, 7, 19, 32, 33, 111}) {
      const size_t row_bytes = (in + 7) / 8;
      Buffer<uint8_t> bits(out * row_bytes);
      for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random.below(256));  // bits beyond `in` are set too
      Buffer<uint32_t> planes(panel_count(out) * bit_plane_words(in), 0xDEADBEEF);
      pack_bit_planes16(bits.data(), out, in, planes.data());
      for (size_t column = 0; column < panel_count(out) * 16; ++column) {
        for (size_t k = 0; k < (in + 31) / 32 * 32; ++k) {
          const bool expected = column < out && k < in && (bits[column * row_bytes + k / 8] >> (k % 8) & 1);
          const uint32_t word = planes[column / 16 * bit_plane_words(in) + k / 32 * 16 + column % 16];
          ASSERT_EQ((word >> (31 - k % 32) & 1) != 0, expected) << "out " << out << " in " << in << " column " << column << " k " << k;
        }
      }
    }
  }
}

struct MaskCase {
  Floats x, y, panel, bias;
  Buffer<uint16_t> half;
  Buffer<uint32_t> planes;
  MaskedPanel arguments;

  MaskCase(Random& random, size_t k, uint32_t width, WeightType type, uint32_t rows, bool with_bias)
      : x(random.floats(k * kStripRows)),
        y(random.floats(width * kStripRows)),
        panel(k * width + 16, kNan),
        bias(random.floats(width)),
        half(padded_inputs(type, k) * width + 32, uint16_t{0x7E00}),
        planes(panel_count(width) * bit_plane_words(k)) {
    Buffer<uint8_t> bits(width * ((k + 7) / 8));
    for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random.below(256) | random.below(256));
    pack_bit_planes16(bits.data(), width, k, planes.data());
    for (size_t i = 0; i < k * width; ++i) panel[i] = random.value();
    for (size_t i = 0; i < padded_inputs(type, k) * width; ++i) {
      half[i] = type == WeightType::kBFloat16 ? bfloat_from_float(random.value()) : half_from_float(random.value());
    }
    arguments.x = x.data();
    arguments.y = y.data();
    arguments.panel = type == WeightType::kFloat32 ? static_cast<const void*>(panel.data()) : half.data();
    arguments.type = type;
    arguments.width = width;
    arguments.k = k;
    arguments.planes = planes.data();
    arguments.bias = with_bias ? bias.data() : nullptr;
    arguments.rows = rows;
  }
};

TEST_P(MaskTest, EqualsTheReference) {
  uint64_t seed = 0;
  for (WeightType type : kTypes) {
    for (size_t k : {size_t{0}, size_t{1}, size_t{7}, size_t{32}, size_t{33}, size_t{111}, size_t{384}, size_t{600}}) {
      for (uint32_t width : {1u, 2u, 7u, 8u, 15u, 16u}) {
        for (uint32_t rows : {1u, 7u, 8u, 9u, 16u}) {
          if (!is_chosen(++seed, 5)) continue;
          SCOPED_TRACE(::testing::Message() << "seed " << seed << " k " << k << " width " << width << " rows " << rows);
          Random random(seed);
          MaskCase c(random, k, width, type, rows, seed % 3 != 0);
          const LaneMask lanes = lane_range(0, rows);
          spoil(c.x, lanes);
          spoil(c.y, lanes);
          Floats start = c.y;
          reference_kernels().masked_panel(c.arguments);
          Floats expected = c.y;
          c.y = start;
          kernels().masked_panel(c.arguments);
          if (fused()) {
            EXPECT_TRUE(all_same_bits(c.y, expected, lanes));
          } else {
            const double tolerance = 1.2e-7 * static_cast<double>((k + 1) * (k + 1));
            for (size_t i = 0; i < c.y.size(); ++i) {
              if (has_lane(lanes, i % kStripRows)) {
                EXPECT_NEAR(c.y[i], expected[i], tolerance);
              }
            }
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(MaskTest, ARowsBitsDependNeitherOnItsLaneNorOnOtherRows) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    MaskCase c(random, 1 + random.below(300), 1 + random.below(16), kTypes[seed % 3], kStripRows, true);
    kernels().masked_panel(c.arguments);
    const std::vector<uint32_t> order = random.lane_order();
    c.arguments.rows = 1 + random.below(16);
    const LaneMask lanes = lane_range(0, c.arguments.rows);
    Floats expected = permuted(c.y, order);
    c.x = permuted(c.x, order);
    spoil(c.x, lanes);
    kernels().masked_panel(c.arguments);
    EXPECT_TRUE(all_same_bits(c.y, expected, lanes));
  }
}

TEST_P(MaskTest, RowsHaveTheBitsOfTheirStripAlone) {
  for (uint32_t number = 0; number < 6; ++number) {
    const WeightType type = kTypes[number / 2];
    const uint32_t width = number % 2 == 0 ? 13 : 16;
    Random random(11);
    MaskCase c(random, 301, width, type, kStripRows, true);
    constexpr uint32_t kStrips = 18;  // more than are given the same staged weights
    const size_t x_stride = 301 * kStripRows, y_stride = width * kStripRows;
    const Floats x = random.floats(kStrips * x_stride);
    Floats alone(kStrips * y_stride);
    MaskedPanel a = c.arguments;
    for (uint32_t s = 0; s < kStrips; ++s) {
      a.x = x.data() + s * x_stride;
      a.y = alone.data() + s * y_stride;
      kernels().masked_panel(a);
    }
    a.x = x.data();
    a.x_stride = x_stride;
    a.y_stride = y_stride;
    for (uint32_t rows : {17u, 24u, 31u, 33u, 50u, 56u, 64u, 96u, 100u, kStrips * kStripRows}) {
      Floats y(kStrips * y_stride);
      a.y = y.data();
      a.rows = rows;
      kernels().masked_panel(a);
      for (uint32_t row = 0; row < rows; ++row) {
        for (uint32_t column = 0; column < width; ++column) {
          const size_t i = row / kStripRows * y_stride + column * kStripRows + row % kStripRows;
          ASSERT_TRUE(same_bits(y[i], alone[i])) << "width " << width << " rows " << rows << " row " << row << " column " << column;
        }
      }
    }
  }
}

TEST_P(MaskTest, NeighbouringPanelsHaveTheBitsOfEachAlone) {
  uint64_t seed = 0;
  for (WeightType type : kTypes) {
    for (size_t k : {size_t{0}, size_t{1}, size_t{33}, size_t{128}, size_t{200}, size_t{384}, size_t{600}}) {
      for (uint32_t last_width : {1u, 7u, 8u, 16u}) {
        for (uint32_t rows : {1u, 16u, 24u, 31u, 40u, 48u, 64u, 100u}) {
          if (!is_chosen(++seed, 5)) continue;
          SCOPED_TRACE(::testing::Message() << "seed " << seed << " k " << k << " width " << last_width << " rows " << rows);
          Random random(seed);
          constexpr uint32_t kPanels = 4;
          const uint32_t columns = (kPanels - 1) * kPanelColumns + last_width, strips = (rows + kStripRows - 1) / kStripRows;
          const MaskCase c(random, k, columns, type, rows, seed % 3 != 0);
          const Floats x = random.floats(strips * (k + 1) * kStripRows), start = random.floats(strips * (columns + 1) * kStripRows);
          MaskedPanel a = c.arguments;
          a.x = x.data();
          a.x_stride = (k + 1) * kStripRows;
          a.y_stride = (columns + 1) * kStripRows;
          Floats together = start, alone = start, expected = start;
          a.panels = kPanels;
          a.width = last_width;
          a.y = together.data();
          kernels().masked_panel(a);
          a.y = expected.data();
          reference_kernels().masked_panel(a);
          for (uint32_t p = 0; p < kPanels; ++p) {
            MaskedPanel one = a;
            one.panels = 1;
            one.width = p + 1 == kPanels ? last_width : kPanelColumns;
            one.panel = static_cast<const char*>(a.panel) + panel_offset(padded_inputs(type, k), p) * weight_bytes(type);
            one.planes += p * bit_plane_words(k);
            if (one.bias) one.bias += p * kPanelColumns;
            one.y = alone.data() + p * kPanelColumns * kStripRows;
            kernels().masked_panel(one);
          }
          for (uint32_t row = 0; row < rows; ++row) {
            for (uint32_t column = 0; column < columns; ++column) {
              const size_t i = row / kStripRows * a.y_stride + column * kStripRows + row % kStripRows;
              ASSERT_TRUE(same_bits(together[i], alone[i])) << "row " << row << " column " << column;
              if (fused()) {
                ASSERT_TRUE(same_bits(together[i], expected[i])) << "row " << row << " column " << column;
              }
            }
          }
        }
      }
    }
  }
}

TEST_P(MaskTest, AMaskThatKeepsAllIsThePlainLinear) {
  Random random(9);
  for (WeightType type : kTypes) {
    MaskCase c(random, 111, 16, type, kStripRows, true);
    std::fill(c.planes.begin(), c.planes.end(), 0xFFFFFFFF);
    kernels().masked_panel(c.arguments);
    Floats masked = c.y;
    const float* bias = c.bias.data();
    LinearPanel a;
    a.x = c.x.data();
    a.y = c.y.data();
    a.panel = c.arguments.panel;
    a.type = type;
    a.k = c.arguments.k;
    a.bias = &bias;
    kernels().linear_panel(a);
    EXPECT_TRUE(all_same_bits(masked, c.y));
  }
}

TEST_P(MaskTest, AMaskedWeightIsZeroEvenWhereItIsNotFinite) {
  Random random(4);
  MaskCase c(random, 33, 3, WeightType::kFloat32, kStripRows, true);
  c.panel[5 * 3 + 1] = kNan;
  c.panel[7 * 3 + 2] = kInfinity;
  c.planes[1] &= ~(1u << (31 - 5));
  c.planes[2] &= ~(1u << (31 - 7));
  kernels().masked_panel(c.arguments);
  for (float y : c.y) EXPECT_TRUE(std::isfinite(y));
}

}  // namespace
}  // namespace pets::kernels
