// Sparse deltas on the GPU (diff-pruning, Guo et al. 2021), of all tasks at a site in one launch.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// y[r][c] += sum over the entries e of column c of x[r][row of e] * value of e, for the rows of every tile whose task has a sparse
/// operator at the site. Sums in float, in stored order; y is rounded to T once.
template <class T>
struct Sparse {
  const T* x = nullptr;  ///< [rows][in], 16-byte aligned
  T* y = nullptr;        ///< [rows][out_stride]
  uint32_t in = 0;       ///< a multiple of 8, at most 4,096: a tile's inputs lie in shared memory
  uint32_t out = 0;
  uint32_t out_stride = 0;
  RowTiles tiles;
  SiteOperators<TaskLinear> linears;
  uint32_t sites = 1;  ///< neighbours with one input: their y lie `out` columns further each, their operators follow
};

template <class T>
void sparse(Stream stream, const Sparse<T>& call);

}  // namespace pets::kernels::cuda
