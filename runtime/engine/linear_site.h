// The shared linear operator of a site together with every task's PET operators there, in one pass over the output.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/shared_linear.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// Scratch of one worker for apply_linear.
struct LinearScratch {
  float* scaled_input = nullptr;        ///< [kMostBlockStrips][widest in][16]
  size_t scaled_stride = 0;             ///< floats a strip
  float* low_rank = nullptr;            ///< [kMostBlockStrips][rank][16]
  float* low_rank_temporary = nullptr;  ///< the same again
  size_t low_rank_stride = 0;           ///< floats a strip
  float* own_input = nullptr;           ///< [kMostBlockStrips][widest in][16]: of one task's rows in strips of their own
  size_t own_stride = 0;                ///< floats a strip
  ConvertedStrips converted;            ///< where the base's weights are read by dot products
};

/// Outputs that are kept in bfloat16 only, by instruction sets with dot products for it.
struct RoundedOutput {
  std::byte* bytes = nullptr;  ///< strip `strip_begin`; 32 bytes a feature
  size_t stride = 0;           ///< bytes between strips
  /// As in kernels::BfloatAttention. Null: as `convert_strip` makes the input of a linear.
  void (*round)(const float* x, size_t features, uint16_t* out) = nullptr;
};

/// One linear site of one layer over a range of strips.
struct LinearSite {
  const LinearWeights* weights = nullptr;
  uint32_t layer = 0;
  LinearIndex index = kQuery;
  kernels::Activation activation = kernels::Activation::kNone;
  const float* x = nullptr;  ///< strip `strip_begin` of the call: [in][16]
  size_t x_stride = 0;       ///< floats between strips
  float* y = nullptr;        ///< strip `strip_begin`: [out][16]
  size_t y_stride = 0;
  /// Strips of x that are converted already; x itself is then not read. Null: none are.
  const ConvertedStrips* converted_x = nullptr;
  /// Where y goes, rounded to bfloat16; y is then scratch. Null: y stays.
  const RoundedOutput* rounded_y = nullptr;
  const void* then = nullptr;  ///< the weights that are read next, or null
  bool same_input = false;     ///< x holds what it held in the last call with this scratch, and so many strips of it
};

/// Y = s_out * [ X'(W o M + S) + (X'A) B ] + b, activation(Y), for strips [strip_begin, strip_begin + strips), strips <= kMostBlockStrips,
/// and the weight panels [panel_begin, panel_end). Every output is one chain (bias, dense, low rank, sparse), so that neither the block,
/// nor the panel range, nor the mix of tasks changes a bit. x and y must not overlap. int8 weights, and bfloat16 weights where the
/// instruction set has dot products for them, are applied to X' converted strip by strip; all operators but the mask read X' in float32.
void apply_linear(const kernels::KernelTable& kernels, const LinearSite& site, const RowGroups& groups, uint32_t strip_begin,
                  uint32_t strips, uint32_t panel_begin, uint32_t panel_end, const LinearScratch& scratch);

/// Whether strips [strip_begin, strip_begin + strips) can pass from the layer's linear `from` to its linear `to` converted only, with room
/// in y for one call's panels: no task reads them in float32, and none has a mask at `from`, which wants all panels kept.
bool passes_converted(const RowGroups& groups, uint32_t strip_begin, uint32_t strips, uint32_t layer, LinearIndex from, LinearIndex to);

/// Strips of one array, `stride` floats apart.
template <typename Float>
struct Strips {
  Float* first = nullptr;
  size_t stride = 0;
};
/// y = x W + b for up to kMostBlockStrips strips, without PET operators: x is [in][16] a strip, y [out][16].
void apply_plain_linear(const kernels::KernelTable& kernels, const LinearWeights& weights, Strips<const float> x, Strips<float> y,
                        uint32_t strips = 1);

}  // namespace pets::engine
