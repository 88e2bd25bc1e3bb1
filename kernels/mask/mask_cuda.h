// Masked weights on the GPU (MaskBert, Zhao et al. 2020), of all tasks at a site, or at neighbouring sites with one input, in one launch.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// Of a tile, at most. A block reads its columns' weights once for all rows of a tile, or of two: more than other families' tiles have.
inline constexpr uint32_t kMaskTileRows = 64;

/// Operands of a mask's product that are int8, with a scale a row and an output. Sums are exact then and multiplied by both scales in
/// float: what the mask drops aside, those of quantize/.
struct MaskIntegers {
  const int8_t* x = nullptr;            ///< [rows][in], 16-byte aligned
  const float* row_scale = nullptr;     ///< [rows]
  const int8_t* weight = nullptr;       ///< [sites][out][in], the base's, 16-byte aligned
  const float* column_scale = nullptr;  ///< [sites][out]
};

/// y[r] = x[r] (W o mask)^T for the rows of every tile whose task has a mask at the site: replaces what the shared product left there.
/// Weights whose bit is 0 count as +0. Sums in float, rounded to T once. A block takes one tile or two, of one site and a group of output
/// columns, and leaves out tasks that have no mask. Operators, planes, weights and tiles are read while earlier launches may still run.
template <class T>
struct Mask {
  const T* x = nullptr;       ///< [rows][in], 16-byte aligned
  const T* weight = nullptr;  ///< [sites][out][in], the base's, 16-byte aligned
  T* y = nullptr;             ///< [rows][out_stride], 16-byte aligned, of the first site; the others' lie `out` columns further each
  uint32_t in = 0;            ///< a multiple of 16
  uint32_t out = 0;           ///< of a site, a multiple of 16
  uint32_t out_stride = 0;    ///< values from row to row of y, a multiple of 8
  RowTiles tiles;             ///< of up to kMaskTileRows rows
  SiteOperators<TaskLinear> linears;  ///< of the first site; the others' follow it. Planes are 16-byte aligned
  uint32_t sites = 1;
  MaskIntegers integers;  ///< where its weight is not null, instead of x and weight
};

template <class T>
void mask(Stream stream, const Mask<T>& call);
/// Its part where the operands are integers.
template <class T>
void mask_integers(Stream stream, const Mask<T>& call);

}  // namespace pets::kernels::cuda
