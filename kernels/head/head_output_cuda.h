// The end of heads that have no layers, or whose result is made of length 1 (embeddings), on the GPU.
#pragma once

#include "kernels/head/head_rows_cuda.h"

namespace pets::kernels::cuda {

/// A row of a head without layers is copied to its logits. Where the head normalizes, the row's logits, of layers or copied, are divided
/// by their length, or by 1e-12 where they are shorter (torch.nn.functional.normalize). In float, each sum in one order. After
/// the heads' layers; rows of other heads are left alone. One block a tile.
template <class T>
void head_output(Stream stream, const HeadRows<T>& call);

}  // namespace pets::kernels::cuda
