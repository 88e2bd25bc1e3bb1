// Masked weights on the GPU (MaskBert, Zhao et al. 2020), of all tasks at a site in one launch.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// y[r] = x[r] (W o mask)^T for the rows of every tile whose task has a mask at the site: replaces what the shared product left there.
/// Weights whose bit is 0 count as +0. Sums in float, rounded to T once.
template <class T>
struct Mask {
  const T* x = nullptr;       ///< [rows][in], 32-byte aligned
  const T* weight = nullptr;  ///< [out][in], the base's, 32-byte aligned
  T* y = nullptr;             ///< [rows][out_stride]
  uint32_t in = 0;            ///< a multiple of 16
  uint32_t out = 0;           ///< a multiple of 16
  uint32_t out_stride = 0;    ///< values from row to row of y
  RowTiles tiles;
  SiteOperators<TaskLinear> linears;
  uint32_t sites = 1;  ///< neighbours with one input: their y lie `out` columns further each, their operators follow
};

template <class T>
void mask(Stream stream, const Mask<T>& call);

}  // namespace pets::kernels::cuda
