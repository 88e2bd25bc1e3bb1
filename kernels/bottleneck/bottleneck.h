// Bottleneck adapters (Houlsby et al. 2019, Pfeiffer et al. 2021, He et al. 2022), every AdapterHub option that changes the answer.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/kernel_table.h"
#include "kernels/strip.h"

namespace pets::kernels {

enum class ResidualBeforeNorm : uint8_t { kOriginal = 0, kBase = 1, kPostAdd = 2 };  ///< residual_before_ln: false, true, "post_add"

struct NormParameters {
  const float* gamma = nullptr;  ///< null: there is no such norm
  const float* beta = nullptr;
  float epsilon = 0;
};

/// h = the sublayer's dense output with bias, r = the sublayer's input (residual), N = the site's LayerNorm:
///   u = parallel ? r : (original_norm_before ? N(h + r) : h)
///   d = residual_before_norm: kBase: h | kPostAdd: h + r | kOriginal: u
///   a = scaling * up(act(down(norm_before ? LN(u) : u)))
///   o = parallel: h + LNa(a);  else adapter_residual_before_norm ? LNa(a + d) : LNa(a) + d        (LNa only where norm_after is set)
///   y = original_norm_after ? N(o + r) : o
struct Bottleneck {
  const float* down = nullptr;       ///< kPanels16 of [inner, hidden]
  const float* down_bias = nullptr;  ///< [inner]
  const float* up = nullptr;         ///< kPanels16 of [hidden, inner]
  const float* up_bias = nullptr;    ///< [hidden]
  uint32_t inner = 0;
  Activation activation = Activation::kRelu;
  bool parallel = false;
  bool original_norm_before = false;
  bool original_norm_after = true;
  ResidualBeforeNorm residual_before_norm = ResidualBeforeNorm::kBase;
  bool adapter_residual_before_norm = false;
  NormParameters norm_before;
  NormParameters norm_after;
  float scaling = 1;
  const float* channel_scaling = nullptr;  ///< [hidden], or null: `scaling`
};

/// Strips of one call: half of what a block has at most, whose scratch stays in an L2 cache.
inline constexpr uint32_t kBottleneckStrips = 4;
/// Floats of scratch that a call needs.
constexpr size_t bottleneck_scratch_floats(size_t hidden, size_t inner) { return kBottleneckStrips * (3 * hidden + inner) * kStripRows; }

/// Computes y for the first `rows` rows, of kBottleneckStrips strips at most; those behind them are nobody's, and y's become anything.
/// `norm` is the site's LayerNorm N as the task has it. h, r, y: [strips][hidden][16], aligned; y may be h or r. Built from the table's
/// primitives, so it is the same on every ISA.
void apply_bottleneck(const KernelTable& table, const Bottleneck& bottleneck, const NormParameters& norm, size_t hidden, uint32_t rows,
                      const float* h, const float* r, float* scratch, float* y);

}  // namespace pets::kernels
