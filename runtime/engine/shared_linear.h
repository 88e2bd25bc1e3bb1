// The base's weights of one site applied to the strips of one call: by float multiply-adds, or by dot products of converted strips.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// Strips of one AVX-512 or AVX2 tile; blocks are whole multiples of it where they can be.
inline constexpr uint32_t kTileStrips = 3;
/// Strips that one call works on at most: a weight panel is read once for all of them while it is in the L1 cache, and their
/// activations stay in L2 (6 strips x 1,536 features x 64 B = 576 KiB for MiniLM's widest).
inline constexpr uint32_t kBlockStrips = 2 * kTileStrips;

/// Scratch of one worker for weights that are read by dot products: the strips of a call as `convert_strip` made them.
struct ConvertedStrips {
  std::byte* bytes = nullptr;  ///< [kBlockStrips][converted_strip_bytes of the widest in]
  size_t stride = 0;           ///< bytes a strip
  float* row_scale = nullptr;  ///< [kBlockStrips][16]
};

/// A part of a linear's inputs. Chains wait in y between parts, so their bits are those of one pass.
struct InputPart {
  size_t begin = 0, count = 0;
  bool first = true, last = true;
};

/// Where one panel's call goes: `run` neighbouring strips from `first`, one part of the inputs.
struct PanelCall {
  uint32_t panel = 0;
  uint32_t panel_end = 0;  ///< what is asked for ahead ends here
  InputPart part;
  uint32_t first = 0, run = 1;
  float* tile = nullptr;  ///< of strip 0 of the block, at the panel's first column
};

class SharedLinear {
 public:
  /// y_stride: floats between the strips of `tile`.
  SharedLinear(const kernels::KernelTable& kernels, const LinearWeights& weights, size_t x_stride, size_t y_stride,
               const ConvertedStrips& converted)
      : kernels_(kernels), weights_(weights), x_stride_(x_stride), y_stride_(y_stride), converted_(converted) {}

  /// Sets the input of a strip of the block, [in][16]; converts it where the weights are read by dot products.
  void set_input(uint32_t strip, const float* x);
  /// Whether strip `b`, `distance` after strip `a`, can be part of the same call.
  bool neighbours(uint32_t a, uint32_t distance) const { return dot_products() || x_[a + distance] == x_[a] + distance * x_stride_; }
  /// How the inputs are divided: calls part(InputPart) for each, in order.
  template <typename Part>
  void each_part(const Part& part) const {
    const size_t most = dot_products() || kernels_.most_inputs == 0 ? weights_.in : kernels_.most_inputs;
    const size_t parts = (weights_.in + most - 1) / most;
    const size_t count = parts <= 1 ? weights_.in : (weights_.in / parts + 127) / 128 * 128;  // whole words of mask bits
    size_t begin = 0;
    do {
      const size_t end = std::min(begin + count, size_t{weights_.in});
      part(InputPart{begin, end - begin, begin == 0, end == weights_.in});
      begin = end;
    } while (begin < weights_.in);
  }

  /// The dense chains; starts: [call.run], null entries go on from the tile.
  void dense(const PanelCall& call, const float* const* starts) const;
  /// The chains of a task's masked weights, for the rows in `lanes` (run > 1: all). planes: of all panels. start: null goes on from the
  /// tile.
  void masked(const PanelCall& call, const uint32_t* planes, const float* start, kernels::LaneMask lanes) const;

 private:
  bool dot_products() const {
    return weights_.type == kernels::WeightType::kInt8 || (weights_.type == kernels::WeightType::kBFloat16 && kernels_.bfloat16_dot);
  }
  /// The panel from the part's first input on.
  const void* panel_at(uint32_t panel, const InputPart& part) const;
  const void* next_panel(const PanelCall& call) const {
    return call.panel + 1 < call.panel_end ? panel_at(call.panel + 1, call.part) : nullptr;
  }
  kernels::DotPanel dot_call(const PanelCall& call, const float* const* starts) const;

  const kernels::KernelTable& kernels_;
  const LinearWeights& weights_;
  size_t x_stride_, y_stride_;
  const ConvertedStrips& converted_;
  const float* x_[kBlockStrips] = {};
};

}  // namespace pets::engine
