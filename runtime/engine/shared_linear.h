// The base's weights of one site applied to the strips of one call: by float multiply-adds, or by dot products of converted strips.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/engine/row_blocks.h"
#include "runtime/engine/task_rows.h"
#include "runtime/engine/weights.h"

namespace pets::engine {

/// Strips as `convert_strip` made them, for weights that are read by dot products: a worker's scratch, or what a linear before left.
struct ConvertedStrips {
  std::byte* bytes = nullptr;      ///< [kMostBlockStrips][converted_strip_bytes of the widest in]
  size_t stride = 0;               ///< bytes a strip
  float* row_scale = nullptr;      ///< [kMostBlockStrips + 1][16]: rows that begin inside a strip are read as whole strips
  const float** source = nullptr;  ///< [kMostBlockStrips]: what each strip was converted from; null: they are final
};

/// A part of a linear's inputs. Chains wait in y between parts, so their bits are those of one pass.
struct InputPart {
  size_t begin = 0, count = 0;
  bool first = true, last = true;
};

/// One panel, or neighbouring ones, and one part of the inputs.
struct PanelCall {
  uint32_t panel = 0, panel_end = 0;
  uint32_t panels = 1;  ///< from `panel` on, for the dense chains: at most SharedLinear::most_panels
  InputPart part;
  const void* then = nullptr;  ///< the weights that are read after panel_end, to be asked for ahead; or null
};

inline uint32_t panel_columns(const LinearWeights& weights, const PanelCall& call) {
  return std::min(weights.out - call.panel * kernels::kPanelColumns, call.panels * kernels::kPanelColumns);
}

/// One part of the inputs of one task's rows, in strips of their own; converted where the weights are read by dot products.
struct RowInputs {
  const float* x = nullptr;        ///< or as `convert_strip` of the kernels' DotKernels made it
  size_t x_stride = 0;             ///< 32-bit values between strips
  const float* x_scale = nullptr;  ///< int8: [rows]
  uint32_t rows = 0;
};

/// One at a time on a thread (kernels::DotCalls).
class SharedLinear {
 public:
  SharedLinear(const kernels::KernelTable& kernels, const LinearWeights& weights, size_t x_stride, const ConvertedStrips& converted)
      : kernels_(kernels), weights_(weights), x_stride_(x_stride), converted_(converted), dot_calls_(kernels.dots, dot_products()) {}

  /// Sets the input of a strip of the block, [in][16]; converts it where the weights are read by dot products, unless that has been done.
  /// `unchanged`: x holds what it held when this scratch last converted it, if it did.
  void set_input(uint32_t strip, const float* x, bool unchanged);
  /// The input of a strip of the block.
  const float* input(uint32_t strip) const { return x_[strip]; }
  /// How many strips from `first` on, up to `end`, can be part of the same call.
  uint32_t neighbours(uint32_t first, uint32_t end) const { return dot_products() ? end - first : float_neighbours(first, end); }
  /// The same for what reads the inputs in float32.
  uint32_t float_neighbours(uint32_t first, uint32_t end) const {
    uint32_t count = 1;
    while (first + count < end && x_[first + count] == x_[first] + count * x_stride_) ++count;
    return count;
  }
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

  /// How many panels one call may take.
  uint32_t most_panels() const { return dot_products() ? kernels_.dots.panels : 1; }
  /// The same for masked weights, which are staged: any number where the weights are read in one part.
  uint32_t most_masked_panels() const {
    if (dot_products()) return kernels_.dots.masked_panels;
    return kernels_.most_inputs != 0 ? 1 : kernels::kAnyPanels;
  }
  /// The panel from the part's first input on.
  const void* panel_at(uint32_t panel, const InputPart& part) const;
  /// The dense chains of `run` neighbouring strips of the block from strip `first` on; starts: [run], null entries go on from y. y: of
  /// strip `first` at the panel's first column. rows: of the last strip, those that are wanted; the others become anything finite.
  void dense(const PanelCall& call, uint32_t first, uint32_t run, const float* const* starts, float* y, size_t y_stride,
             kernels::LaneMask rows) const;
  /// The inputs of the rows in `range`: where they lie, or gathered into `own`, strips `own_stride` floats apart.
  RowInputs inputs_of(const RowRange& range, const InputPart& part, float* own, size_t own_stride) const;
  /// The chains of a task's masked weights over its rows, y like the inputs in strips of their own. planes: of all panels. start: null
  /// goes on from y.
  void masked(const PanelCall& call, const RowInputs& inputs, const uint32_t* planes, const float* start, float* y, size_t y_stride) const;

 private:
  bool dot_products() const { return kernels_.dots.reads(weights_.type); }
  const void* next_panel(const PanelCall& call) const {
    return call.panel + call.panels < call.panel_end ? panel_at(call.panel + call.panels, call.part) : call.then;
  }
  /// What dense and masked calls share.
  kernels::DotPanel dot_call(const PanelCall& call) const;

  const kernels::KernelTable& kernels_;
  const LinearWeights& weights_;
  size_t x_stride_;
  const ConvertedStrips& converted_;
  kernels::DotCalls dot_calls_;
  const float* x_[kMostBlockStrips] = {};
};

}  // namespace pets::engine
