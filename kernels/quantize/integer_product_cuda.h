// A product of int8 rows and int8 weights on tensor cores that ends with both scales: its sums of 32 bits never leave the registers.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// y[r][c] = (sum over k of x[r][k] * weight[c][k]) * (row_scale[r] * column_scale[c]): the sum exactly, in integers, the rest in float,
/// rounded to T once. So an output does not depend on how rows and columns are cut into blocks. in * 128^2 must fit 31 bits.
template <class T>
struct IntegerProduct {
  const int8_t* x = nullptr;            ///< [rows][in], 16-byte aligned
  const float* row_scale = nullptr;     ///< [rows]
  const int8_t* weight = nullptr;       ///< [out][in], 16-byte aligned
  const float* column_scale = nullptr;  ///< [out]
  T* y = nullptr;                       ///< [rows][y_stride], 16-byte aligned
  uint32_t rows = 0;
  uint32_t in = 0;        ///< a multiple of 16
  uint32_t out = 0;       ///< a multiple of 16
  uint32_t y_stride = 0;  ///< values from row to row, a multiple of 8
};

template <class T>
void integer_product(Stream stream, const IntegerProduct<T>& call);

}  // namespace pets::kernels::cuda
