// The rows of a batch's heads on the GPU: where each comes from, and where its logits go.
//
// A head's input is one pooled row a query, or every token's row. The rows of all heads of a batch are numbered one after another, those of
// a task without a gap (*head rows*); what is computed between a head's layers, and the places of the logits, go by that number.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// Up to 16 neighbouring rows of one task's head.
struct HeadTile {
  RowTile input;          ///< rows of what the head reads (TaskHead::input)
  uint32_t head_row = 0;  ///< of the first one
};

/// As RowTiles.
struct HeadTiles {
  const HeadTile* tiles = nullptr;
  const uint32_t* count = nullptr;
  uint32_t most = 0;  ///< blocks that are launched
};

/// Where a row's logits go: output i to logits[begin + i * stride].
struct LogitPlace {
  uint32_t begin = 0;
  uint32_t stride = 1;
};

/// What all kernels of heads read and write.
template <class T>
struct HeadRows {
  const T* hidden = nullptr;  ///< [.][width], 16-byte aligned, as are the next two: the encoder's result
  const T* pooled = nullptr;  ///< [.][width]
  const T* pooler = nullptr;  ///< [.][width]: pooled rows after the base's pooler
  uint32_t width = 0;         ///< of the encoder, a multiple of 16
  HeadTiles tiles;
  const LogitPlace* places = nullptr;  ///< [head rows]
  SiteOperators<TaskHead> heads;
  float* logits = nullptr;

#if defined(PETS_EMULATED_CUDA) || defined(__CUDACC__)
  /// The first row of a tile's input. By value: a reference to one of the pointers would put the parameters on the stack.
  __device__ __forceinline__ const T* input_of(const HeadTile& tile, const TaskHead& head) const {
    const T* const rows = head.input == HeadInput::kHidden ? hidden : head.input == HeadInput::kPooled ? pooled : pooler;
    return rows + static_cast<size_t>(tile.input.first_row) * width;
  }
#endif
};

}  // namespace pets::kernels::cuda
