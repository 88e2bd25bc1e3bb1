// Bottleneck adapters on the GPU, of all tasks at a sublayer in one launch.
#pragma once

#include "kernels/bottleneck/bottleneck.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// y of bottleneck/bottleneck.h for the rows of every tile whose task has a bottleneck here, with h = scale_output * dense + bias and
/// r = residual; y replaces the residual. Values stay in float between the products; operands of the two products (u or LN(u), and
/// act(down)) are rounded to T. Rows, parameters and weights are 16-byte aligned.
template <class T>
struct BottleneckSite {
  const T* dense = nullptr;     ///< [rows][hidden]: the sublayer's product without bias
  T* residual = nullptr;        ///< [rows][hidden]
  uint32_t hidden = 0;          ///< a multiple of 16, at most 1,024
  float epsilon = 0;            ///< of the site's LayerNorm
  const float* bias = nullptr;  ///< [hidden] of the base's linear
  TaskNorm norm;                ///< of the base
  RowTiles tiles;
  SiteOperators<TaskLinear> linears;  ///< of the sublayer's last linear
  SiteOperators<TaskNorm> norms;
  SiteOperators<TaskBottleneck> bottlenecks;
  uint32_t most_inner = 0;  ///< of all tasks, a multiple of 16: bounds the shared memory
};

/// Bytes of shared memory that a block takes; more than the device gives one (163 KiB on Orin) fails at the launch.
template <class T>
size_t bottleneck_shared_bytes(uint32_t hidden, uint32_t most_inner);

template <class T>
void bottleneck(Stream stream, const BottleneckSite<T>& call);

}  // namespace pets::kernels::cuda
