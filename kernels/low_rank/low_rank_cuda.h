// LoRA's low-rank product on the GPU (Hu et al. 2022), of all tasks at a site, or at neighbouring sites with one input, in one launch.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

inline constexpr uint32_t kMostRank = 256;  ///< of a task: shared memory holds x a^T of a tile
/// Of a tile, at most: a block reads its task's factors once for them all.
inline constexpr uint32_t kLowRankTileRows = 32;

/// y[r] += (x[r] a^T) b^T for the rows of every tile whose task has a low-rank operator at the site. Sums in float; x a^T is rounded to T
/// once, as an operand of the second product; y is rounded to T once. One block a tile, site and group of output columns; blocks whose task
/// has none end at once.
template <class T>
struct LowRank {
  const T* x = nullptr;               ///< [rows][in], 16-byte aligned
  T* y = nullptr;                     ///< [rows][out_stride], of the first site; the others' lie `out` columns further each
  uint32_t in = 0;                    ///< a multiple of 16
  uint32_t out = 0;                   ///< of a site, a multiple of 16
  uint32_t out_stride = 0;            ///< values from row to row of y, even
  RowTiles tiles;                     ///< of up to kLowRankTileRows rows
  SiteOperators<TaskLinear> linears;  ///< of the first site; the others' follow it
  uint32_t most_rank = 0;             ///< of all tasks, a multiple of 16, at most kMostRank: bounds the shared memory
  uint32_t sites = 1;
};

template <class T>
void low_rank(Stream stream, const LowRank<T>& call);

}  // namespace pets::kernels::cuda
