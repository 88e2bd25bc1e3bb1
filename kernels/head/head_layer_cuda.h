// One dense layer of the tasks' heads on the GPU, of all tasks of a batch in one launch.
#pragma once

#include "kernels/head/head_rows_cuda.h"

namespace pets::kernels::cuda {

/// y = activation(x weight^T + bias) for the rows of every tile whose head has this layer. Sums in float; activations as exact as
/// activation_cuda.h states. x: the head's input at layer 0, then the layer before. A head's last layer writes its logits, in float, to
/// their places, and only the outputs that the head has; other layers' results are rounded to T once. One block a tile and 64 outputs;
/// blocks whose head has no such layer or outputs end at once.
template <class T>
struct HeadLayer {
  HeadRows<T> rows;
  uint32_t layer = 0;           ///< from 0
  const T* inner_in = nullptr;  ///< [head rows][inner_stride], 32-byte aligned: what layer - 1 wrote; not used by layer 0
  T* inner_out = nullptr;       ///< the same of this layer; not `inner_in`
  uint32_t inner_stride = 0;    ///< at least the outputs of every layer but heads' last ones, a multiple of 16
  uint32_t most_out = 0;        ///< TaskHeadLayer::out at most: how many blocks share a tile, with more outputs each does several groups
};

template <class T>
void head_layer(Stream stream, const HeadLayer<T>& call);

}  // namespace pets::kernels::cuda
