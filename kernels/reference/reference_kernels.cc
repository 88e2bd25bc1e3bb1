#include "kernels/reference/reference_kernels.h"

namespace pets::kernels {

const KernelTable& reference_kernels() {
  static constexpr KernelTable kTable = {
      Isa::kPortable,
      0,
      reference::linear_panel,
      reference::linear_continue,
      reference::masked_panel,
      {true, 1, kMostDotPanels, kAnyPanels, reference::convert_strip, reference::dot_panel, nullptr, nullptr},
      reference::sparse_tile,
      reference::scale_features,
      reference::scale_bias,
      reference::add,
      reference::scale,
      reference::blend,
      reference::broadcast,
      reference::shift_rows,
      reference::layer_norm,
      reference::activate,
      reference::attention_strip,
      reference::embedding_strip,
      reference::pool_rows,
  };
  return kTable;
}

}  // namespace pets::kernels
