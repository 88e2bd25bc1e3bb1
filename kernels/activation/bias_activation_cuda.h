// What follows the product of a linear whose output is used as it is: output scale, bias and activation, each row with its task's.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// y[r] = activation(scale_output * y[r] + bias), in place, in float between one load and one store. Activations as exact as
/// activation_cuda.h states, of 16-bit types kGelu as fast_gelu. Parameters are 16-byte aligned.
template <class T>
struct BiasActivation {
  T* y = nullptr;  ///< [rows][stride], 16-byte aligned
  uint32_t rows = 0;
  uint32_t width = 0;           ///< a multiple of 8
  uint32_t stride = 0;          ///< values from row to row, a multiple of 8
  const float* bias = nullptr;  ///< [width] of the base
  Activation activation = Activation::kNone;
  RowSlots slots = nullptr;
  SiteOperators<TaskLinear> linears;
};

template <class T>
void bias_activation(Stream stream, const BiasActivation<T>& call);

}  // namespace pets::kernels::cuda
