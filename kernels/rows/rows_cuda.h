// Moving rows: what later launches read, one after another.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// to[i] = from[rows[i]] for `count` rows of `width` values, a multiple of 8; 16-byte aligned, no overlap.
template <class T>
void gather_rows(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to);

}  // namespace pets::kernels::cuda
