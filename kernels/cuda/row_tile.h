// A tile's inputs on their way to shared memory: what grouped kernels of one task's rows do alike.
#pragma once

#include "kernels/cuda/warp_matrix.h"

namespace pets::kernels::cuda {

inline constexpr unsigned kVectorBytes = 16;   // the widest load
inline constexpr unsigned kChunkBytes = 1024;  // of a row's inputs at once: 16 KiB of shared memory
inline constexpr unsigned kLoadsAtOnce = 4;    // of a thread that stages inputs: 16 registers
inline constexpr unsigned kInputBytes = kTile * (kChunkBytes + kVectorBytes);

template <class T>
struct alignas(kVectorBytes) Vector {
  static constexpr unsigned kValues = kVectorBytes / sizeof(T);
  T values[kValues];
};

/// Columns [first, first + kChunkBytes / sizeof(T)) of a tile's rows, to [16][kChunkBytes + kVectorBytes], by a block of kThreads. Rows
/// that the tile does not have, which may be another task's or lie beyond the array, are not read: zeros stand for them, as for columns
/// beyond `in`.
template <unsigned kThreads, class T>
__device__ void stage_inputs(const T* x, unsigned in, unsigned rows, unsigned first, T* to) {
  constexpr unsigned kValues = Vector<T>::kValues, kVectors = kChunkBytes / kVectorBytes, kRowsAtOnce = kThreads / kVectors;
  const unsigned first_row = threadIdx.x / kVectors, column = threadIdx.x % kVectors * kValues;
  for (unsigned group = 0; group < kTile; group += kLoadsAtOnce * kRowsAtOnce) {
    Vector<T> vectors[kLoadsAtOnce] = {};
#pragma unroll
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const unsigned row = group + i * kRowsAtOnce + first_row;
      if (row < rows && first + column < in) vectors[i] = *reinterpret_cast<const Vector<T>*>(x + row * in + first + column);
    }
#pragma unroll
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const unsigned row = group + i * kRowsAtOnce + first_row;
      *reinterpret_cast<Vector<T>*>(to + row * (kVectors + 1) * kValues + column) = vectors[i];
    }
  }
}

}  // namespace pets::kernels::cuda
