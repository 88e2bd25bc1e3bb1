// From rows of tokens to one row a query on the GPU.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// Neighbouring rows that make one: the first of a sequence, or all of them.
struct PooledRow {
  uint32_t first_row = 0;
  uint32_t rows = 0;  ///< at least 1
};

/// pooled[i] = the mean over the rows of rows[i], for every i < *count. Sums in float, one division, rounded to T once; a single row is
/// copied. `count` lies in device memory: blocks beyond it end at once.
template <class T>
struct PoolRows {
  const T* hidden = nullptr;  ///< [.][width], 16-byte aligned
  T* pooled = nullptr;        ///< [most][width], 16-byte aligned
  uint32_t width = 0;         ///< a multiple of 8
  const PooledRow* rows = nullptr;
  const uint32_t* count = nullptr;
  uint32_t most = 0;  ///< rows that are launched
};

template <class T>
void pool_rows(Stream stream, const PoolRows<T>& call);

}  // namespace pets::kernels::cuda
