// The end of a sublayer on the GPU: bias, residual and LayerNorm, each row with its task's parameters.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// For every row: v = scale_output * dense + bias + residual;  residual = (v - mean) / sqrt(variance + epsilon) * gamma + beta
/// with the parameters of the row's task, the base's where it has none. Sums in float, two passes over registers. Parameters are 16-byte
/// aligned. Rows whose task has a bottleneck here are left alone.
template <class T>
struct ResidualNorm {
  const T* dense = nullptr;  ///< [rows][width], 16-byte aligned: the linear's output without bias
  T* residual = nullptr;     ///< [rows][width], the sublayer's input; becomes the result
  uint32_t rows = 0;
  uint32_t width = 0;  ///< a multiple of 8, at most 1,024
  float epsilon = 0;
  const float* bias = nullptr;  ///< [width] of the base
  TaskNorm norm;                ///< of the base
  RowSlots slots = nullptr;
  SiteOperators<TaskLinear> linears;
  SiteOperators<TaskNorm> norms;
  SiteOperators<TaskBottleneck> bottlenecks;
};

template <class T>
void residual_norm(Stream stream, const ResidualNorm<T>& call);

}  // namespace pets::kernels::cuda
