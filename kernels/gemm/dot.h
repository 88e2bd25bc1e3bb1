// Shared linear operator in reduced precision: strips converted once, then dot products of groups of inputs.
//
// bfloat16 and int8 weights lie in groups of 2 and 4 inputs (gemm/panel_layout.h), as the dot-product instructions read them
// (vdpbf16ps, vpdpbusd, AMX's tiles, bfdot, sdot). The activations of a strip are converted once a site, in a format that belongs to the
// instruction set; what the numbers mean is the same everywhere:
//
//   bfloat16   x rounded to nearest even; products summed in float32, in the order and with the roundings of the instruction
//              (those of x86 and ARM take subnormal inputs, weights and sums as zero)
//   int8       one scale a row (token), symmetric: scale[row] = max over k of |x[k][row]| / 127, q = x / scale rounded to nearest even;
//              products are summed exactly, in integers, so every instruction set gives the same sums for the same q
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/strip.h"

namespace pets::kernels {

/// Converts one strip [k][16] (64-byte aligned floats) for `dot_panel` of the same table. A word is one group of inputs of one row, or half
/// of one where int8 is multiplied as 16-bit integers. Strips lie as [ceil(words / n)][16 rows][n words], n = DotKernels::row_words. Inputs
/// beyond k, up to the last of these words, are zero.
/// out: converted_strip_bytes(type, k), 64-byte aligned. scale: [16], int8 only. int8: a row whose largest magnitude is below 1e-36 is all
/// zeros with scale 0; a row that holds an infinity or a NaN gets the scale NaN, so that its outputs are NaN; no row affects another.
using ConvertStripFn = void (*)(WeightType type, const float* x, size_t k, void* out, float* scale);

/// The largest of any instruction set: AVX-512 without VNNI multiplies int8 as 16-bit integers, AMX takes 16 words of a row.
constexpr size_t converted_strip_bytes(WeightType, size_t k) { return (k + 31) / 32 * 32 * kStripRows * 2; }

/// Bytes of `features` values of 16 rows in bfloat16: where feature or input `features` begins, for whole words of a row side by side, so
/// that a strip may be converted in parts.
constexpr size_t bfloat_feature_bytes(size_t features) { return features * kStripRows * 2; }

/// One panel applied to `strips` converted strips:
///   bfloat16   y[s][c][row] = init + sum over groups, ascending, of x . w
///   int8       y[s][c][row] = fma(float(sum over k of q * w), x_scale[s][row] * w_scale[c], init)
/// int8 weights are in [-127, 127], and the two of a pair of inputs 2i and 2i + 1 add up to -128 to 128, as pack_panels16_int8 leaves
/// them: AVX2's sums are unspecified for others. k * 127^2 must fit 31 bits (k <= 133,000).
/// `init` as in LinearPanel: bias[s][c], or what y[s] holds where bias[s] is null.
/// A weight that `planes` (null: none; bit planes as in mask/mask.h) does not keep takes part as 0.
struct DotPanel {
  WeightType type = WeightType::kInt8;  ///< kBFloat16 or kInt8
  const void* x = nullptr;              ///< strip 0 as `convert_strip` made it, 64-byte aligned
  size_t x_stride = 0;                  ///< bytes between strips
  const float* x_scale = nullptr;       ///< int8: [strips][16]
  float* y = nullptr;                   ///< [width][16], 64-byte aligned
  size_t y_stride = 0;                  ///< floats between strips
  const void* panel = nullptr;          ///< [ceil(k / group)][width][group] each, 64 bytes behind it must be readable
  const float* w_scale = nullptr;       ///< int8: [width]
  uint32_t width = kPanelColumns;       ///< 1..16; more for neighbouring panels: DotKernels::panels, masked_panels
  size_t k = 0;                         ///< inputs, before padding; may be 0
  const float* const* bias = nullptr;   ///< [strips], entries may be null
  uint32_t strips = 1;
  uint32_t rows = kStripRows;        ///< as in LinearPanel
  const uint32_t* planes = nullptr;  ///< [ceil(k / 32)][16], 64-byte aligned
  const void* prefetch = nullptr;    ///< the next panel, or null
};
using DotPanelFn = void (*)(const DotPanel&);

inline constexpr uint32_t kMostDotPanels = 2;
inline constexpr uint32_t kAnyPanels = UINT32_MAX;

/// What an instruction set has for weights in reduced precision.
struct DotKernels {
  bool bfloat16;           ///< bfloat16 weights go through dot_panel; otherwise linear_panel and masked_panel widen them
  uint32_t row_words;      ///< how converted strips lie: words of one row side by side
  uint32_t panels;         ///< how many neighbouring panels one call takes, 1 to kMostDotPanels
  uint32_t masked_panels;  ///< the same with planes, 1 or kAnyPanels
  ConvertStripFn convert_strip;
  DotPanelFn dot_panel;
  void (*begin)();                             ///< what a thread calls before its first dot_panel, and
  void (*end)();                               ///< after its last one: matrix units have a state of their own (AMX). Null: nothing to do.
  const BfloatAttention* attention = nullptr;  ///< null: there is none

  /// Whether weights of the type are multiplied by `dot_panel`.
  constexpr bool reads(WeightType type) const { return type == WeightType::kInt8 || (type == WeightType::kBFloat16 && bfloat16); }
};

/// A thread's calls of dot_panel. Not to be nested; costs 0.1 us where there is something to do, so one serves many panels.
class DotCalls {
 public:
  DotCalls(const DotKernels& kernels, bool wanted) : end_(wanted ? kernels.end : nullptr) {
    if (wanted && kernels.begin != nullptr) kernels.begin();
  }
  ~DotCalls() {
    if (end_ != nullptr) end_();
  }
  DotCalls(const DotCalls&) = delete;
  DotCalls& operator=(const DotCalls&) = delete;

 private:
  void (*end_)();
};

}  // namespace pets::kernels
