// int8 on the GPU: rows of activations to integers and a step each, as gemm/dot.h has them for the CPU, and sums of products of integers
// back to activations.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// Of QuantizeRows: what a warp keeps in its registers.
inline constexpr uint32_t kMostQuantizedWidth = 4096;

/// q[r][k] = x[r][k] / scale[r], rounded to the nearest integer, halves to even; scale[r] = largest magnitude of row r / 127. A row whose
/// largest magnitude is below 1e-36 is zeros, and its scale 0; the scale of a row with something that is not finite is NaN. The integers
/// and scales are, bit by bit, those that the CPU makes of the same row. One warp a row.
template <class T>
struct QuantizeRows {
  const T* x = nullptr;    ///< [rows][width], 16-byte aligned
  int8_t* q = nullptr;     ///< [rows][width], 8-byte aligned
  float* scale = nullptr;  ///< [rows]
  uint32_t rows = 0;
  uint32_t width = 0;  ///< a multiple of 8, at most kMostQuantizedWidth
  uint32_t used = 0;   ///< columns that count: those behind them are padding, and become 0 whatever they hold
};

template <class T>
void quantize_rows(Stream stream, const QuantizeRows<T>& call);

/// y[r][c] = sums[r][c] * (row_scale[r] * column_scale[c]) in float, rounded to T once.
template <class T>
struct DequantizeRows {
  const int32_t* sums = nullptr;        ///< [rows][out], 16-byte aligned
  const float* row_scale = nullptr;     ///< [rows]
  const float* column_scale = nullptr;  ///< [out], 16-byte aligned
  T* y = nullptr;                       ///< [rows][y_stride], 16-byte aligned
  uint32_t rows = 0;
  uint32_t out = 0;       ///< a multiple of 8
  uint32_t y_stride = 0;  ///< values from row to row, a multiple of 8
};

template <class T>
void dequantize_rows(Stream stream, const DequantizeRows<T>& call);

}  // namespace pets::kernels::cuda
