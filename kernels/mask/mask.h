// Masked weights (MaskBert): W o M with one bit per weight and no values.
#pragma once

#include "kernels/gemm/linear.h"

namespace pets::kernels {

/// The linear operator of `rows` rows of one task under its mask, in strips of their own (strip s at x + s * x_stride, y + s * y_stride):
///   y[s][c][row] = init + sum over k of x[s][k][row] * (keep(k, c) ? w[k][c] : +0)         one FMA chain, k ascending
/// `init` is bias[c], or what y holds where bias is null. A masked weight takes part as the value +0, as in the Python truth
/// (0 * infinity is NaN there too). What the last strip's other lanes of y hold afterwards is not specified. The masked weights are made
/// once for all strips.
/// planes: [ceil(k / 32)][16] uint32, 64-byte aligned, bit 31 - k % 32 keeps weight k (bundle layout kBitPlanes16, this panel's part).
/// x, panel, type, width as in LinearPanel.
struct MaskedPanel {
  const float* x = nullptr;
  float* y = nullptr;
  const void* panel = nullptr;
  WeightType type = WeightType::kFloat32;
  uint32_t width = kPanelColumns;  ///< of the last panel; those before it have kPanelColumns
  uint32_t panels = 1;             ///< neighbours: their weights, planes, biases and columns of y follow one another
  size_t k = 0;
  const uint32_t* planes = nullptr;
  const float* bias = nullptr;
  uint32_t rows = kStripRows;
  size_t x_stride = 0;  ///< floats
  size_t y_stride = 0;
  const void* prefetch = nullptr;             ///< the next panel, or null
  const uint32_t* prefetch_planes = nullptr;  ///< its planes, or null
};
using MaskedPanelFn = void (*)(const MaskedPanel&);

/// 32-bit words of one panel's planes.
constexpr size_t bit_plane_words(size_t k) { return (k + 31) / 32 * kPanelColumns; }
/// Packs row-major keep bits, [out][ceil(in / 8)] bytes, least significant bit first, into the planes of all panels:
/// ceil(out / 16) * bit_plane_words(in) words. Bits beyond `in` and columns beyond `out` are 0.
void pack_bit_planes16(const uint8_t* bits, size_t out, size_t in, uint32_t* planes);

}  // namespace pets::kernels
