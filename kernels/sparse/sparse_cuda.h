// Sparse deltas on the GPU (diff-pruning, Guo et al. 2021), of all tasks at a site, or at neighbouring sites with one input, in one launch.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// y[r][c] += sum over the entries e of column c of x[r][input of e] * value of e, for the rows of every tile whose task has a sparse
/// operator at the site. Sums in float, in an order that
/// the groups alone decide; y is added to the sum, in float, and rounded to T once.
/// Columns without entries keep their bits. Columns are shared out to blocks by the number of tiles that is found on the device, which
/// changes no bit; a block whose task has no entries ends at once.
template <class T>
struct Sparse {
  const T* x = nullptr;     ///< [rows][in], 16-byte aligned
  T* y = nullptr;           ///< [rows][out_stride], 16-byte aligned, of the first site; the others' lie `out` columns further each
  uint32_t in = 0;          ///< a multiple of 8, at most 4,096: a tile's inputs lie in shared memory
  uint32_t out = 0;         ///< of a site, a multiple of 8
  uint32_t out_stride = 0;  ///< values from row to row of y, a multiple of 8
  RowTiles tiles;
  SiteOperators<TaskLinear> linears;  ///< of the first site; the others' follow it
  uint32_t sites = 1;                 ///< at most 32
};

template <class T>
void sparse(Stream stream, const Sparse<T>& call);

}  // namespace pets::kernels::cuda
