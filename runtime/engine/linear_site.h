// The shared linear operator of a site together with every task's PET operators there, in one pass over the output.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// Strips of one AVX-512 tile; blocks are whole multiples of it where they can be.
inline constexpr uint32_t kTileStrips = 3;
/// Strips that one call works on at most: a weight panel is read once for all of them while it is in the L1 cache, and their
/// activations stay in L2 (6 strips x 1,536 features x 64 B = 576 KiB for MiniLM's widest).
inline constexpr uint32_t kBlockStrips = 2 * kTileStrips;

/// Scratch of one worker for apply_linear.
struct LinearScratch {
  float* scaled_input = nullptr;        ///< [kBlockStrips][widest in][16]
  size_t scaled_stride = 0;             ///< floats a strip
  float* low_rank = nullptr;            ///< [kBlockStrips][rank][16]
  float* low_rank_temporary = nullptr;  ///< [rank][16]
  size_t low_rank_stride = 0;
  // Where the base's weights are read by dot products: the strips of a call as `convert_strip` made them.
  std::byte* converted = nullptr;  ///< [kBlockStrips][converted_strip_bytes of the widest in]
  size_t converted_stride = 0;     ///< bytes a strip
  float* row_scale = nullptr;      ///< [kBlockStrips][16]
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
};

/// Y = s_out * [ X'(W o M + S) + (X'A) B ] + b, activation(Y), for strips [strip_begin, strip_begin + strips), strips <= kBlockStrips, and
/// the weight panels [panel_begin, panel_end). Every output is one chain (bias, dense, low rank, sparse), so that neither the block, nor
/// the panel range, nor the mix of tasks changes a bit. x and y must not overlap. int8 weights, and bfloat16 weights where the instruction
/// set has dot products for them, are applied to X' converted strip by strip; all operators but the mask read X' in float32.
void apply_linear(const kernels::KernelTable& kernels, const LinearSite& site, const RowGroups& groups, uint32_t strip_begin,
                  uint32_t strips, uint32_t panel_begin, uint32_t panel_end, const LinearScratch& scratch);

/// y = x W + b for one strip, without PET operators: x is [in][16], y [out][16].
void apply_plain_linear(const kernels::KernelTable& kernels, const LinearWeights& weights, const float* x, float* y);

}  // namespace pets::engine
