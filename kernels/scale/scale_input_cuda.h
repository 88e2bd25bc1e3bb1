// IA3's input scale on the GPU (Liu et al. 2022).
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// scaled[r] = scale_input * x[r] where the row's task has one, a copy of x[r] elsewhere: the input of a linear's product for all rows.
/// Factors are 16-byte aligned.
template <class T>
struct ScaleInput {
  const T* x = nullptr;  ///< [rows][width], 16-byte aligned
  T* scaled = nullptr;   ///< [rows][width]; not x
  uint32_t rows = 0;
  uint32_t width = 0;  ///< a multiple of 8
  RowSlots slots = nullptr;
  SiteOperators<TaskLinear> linears;
};

template <class T>
void scale_input(Stream stream, const ScaleInput<T>& call);

}  // namespace pets::kernels::cuda
