// The weight layout that the CPU kernels read, and its packing (bundle layout kPanels16).
//
// A linear's weight [out, in] (PyTorch's orientation, row-major) becomes ceil(out / 16) panels of [in][width] values, width 16 and,
// for the last panel, the remainder. Panel p starts at value p * 16 * in. There is no padding inside: out * in values in all.
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

/// weight: [out][in] row-major; panels: out * in values. No aliasing.
void pack_panels16(const float* weight, size_t out, size_t in, float* panels);
/// The same with IEEE half precision values, rounded to nearest even. Values beyond the half range become infinities: the caller checks.
void pack_panels16_half(const float* weight, size_t out, size_t in, uint16_t* panels);
/// The inverse of `pack_panels16`.
void unpack_panels16(const float* panels, size_t out, size_t in, float* weight);

/// IEEE 754 binary16 <-> binary32, round to nearest even, subnormals, infinities and NaNs kept. Plain C++, for packing and references.
uint16_t half_from_float(float value);
float float_from_half(uint16_t half);

}  // namespace pets::kernels
