// The weight layouts that the CPU kernels read, and their packing (bundle layouts kPanels16, kPanels16By2, kPanels16By4Bounded).
//
// A linear's weight [out, in] (PyTorch's orientation, row-major) becomes ceil(out / 16) panels of [in][width] values, width 16 and,
// for the last panel, the remainder. Panel p starts at value p * 16 * in. There is no padding inside: out * in values in all.
//
// What dot-product instructions read has its inputs in groups of 2 (bfloat16) or 4 (int8): panels of [ceil(in / group)][width][group]
// values. Inputs beyond `in` are zero; panel p starts at value p * 16 * ceil(in / group) * group.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/strip.h"

namespace pets::kernels {

constexpr size_t panel_count(size_t out) { return (out + kPanelColumns - 1) / kPanelColumns; }
constexpr uint32_t panel_width(size_t out, size_t panel) {
  const size_t left = out - panel * kPanelColumns;
  return static_cast<uint32_t>(left < kPanelColumns ? left : kPanelColumns);
}
/// First value of a panel, counted in values.
constexpr size_t panel_offset(size_t in, size_t panel) { return panel * kPanelColumns * in; }

/// Inputs that lie side by side: 1, 2 for bfloat16, 4 for int8.
constexpr size_t input_group(WeightType type) { return type == WeightType::kBFloat16 ? 2 : type == WeightType::kInt8 ? 4 : 1; }
/// `in`, rounded up to whole groups.
constexpr size_t padded_inputs(WeightType type, size_t in) { return (in + input_group(type) - 1) / input_group(type) * input_group(type); }
constexpr size_t weight_bytes(WeightType type) {
  return type == WeightType::kFloat32 ? sizeof(float) : type == WeightType::kInt8 ? sizeof(int8_t) : sizeof(uint16_t);
}

/// weight: [out][in] row-major; panels: out * in values. No aliasing.
void pack_panels16(const float* weight, size_t out, size_t in, float* panels);
/// The same with IEEE half precision values, rounded to nearest even. Values beyond the half range become infinities: the caller checks.
void pack_panels16_half(const float* weight, size_t out, size_t in, uint16_t* panels);
/// bfloat16, rounded to nearest even, inputs in groups of 2. panels: out * padded_inputs(kBFloat16, in) values.
void pack_panels16_bfloat(const float* weight, size_t out, size_t in, uint16_t* panels);
/// What is in either already, moved to the panels of `type`, kFloat16 or kBFloat16.
void pack_panels16_bits(WeightType type, const uint16_t* weight, size_t out, size_t in, uint16_t* panels);
/// int8, inputs in groups of 4, one scale an output, value = weight / scale rounded to nearest even. The scale is the smallest by which
///   |value[o][k]| <= 127   and   |value[o][2i] + value[o][2i + 1]| <= 128
/// are certain: the largest of |weight[o][k]| / 127 and |weight[o][2i] + weight[o][2i + 1]| / 127.99. The second bound is AVX2's: with
/// inputs of 1 to 255 two products are at most 255 * 128 = 32640, which 16 bits hold (gemm/dot_avx2.cc). An output whose weights are all
/// zero has scale 0. Weights must be finite.
/// panels: out * padded_inputs(kInt8, in) values; scale: [out].
void pack_panels16_int8(const float* weight, size_t out, size_t in, int8_t* panels, float* scale);
/// The same integers and scales row-major, as a GPU reads them. rows: [out][in].
void pack_rows_int8(const float* weight, size_t out, size_t in, int8_t* rows, float* scale);
/// Integers of `pack_rows_int8`, moved to the panels.
void pack_panels16_bytes(const int8_t* rows, size_t out, size_t in, int8_t* panels);
/// The inverse of `pack_panels16`.
void unpack_panels16(const float* panels, size_t out, size_t in, float* weight);

/// IEEE 754 binary16 <-> binary32, round to nearest even, subnormals, infinities and NaNs kept. Plain C++, for packing and references.
uint16_t half_from_float(float value);
float float_from_half(uint16_t half);
/// bfloat16 is the upper half of a binary32. Rounded to nearest even; NaNs stay NaNs.
uint16_t bfloat_from_float(float value);
float float_from_bfloat(uint16_t bfloat);

}  // namespace pets::kernels
