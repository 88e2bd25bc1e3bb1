// LayerNorm of a row that lies in the registers of a warp.
#pragma once

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

/// A row of up to kVectors * 128 features: vector v of lane l has those from (v * 32 + l) * 4 on, so that a warp's accesses are contiguous,
/// those of float parameters above all: they are more bytes than a row of a 16-bit type. Places beyond the row are zero: what is done to
/// all of it needs no branches, which would keep loads from being in flight together.
template <unsigned kVectors>
struct WarpRow {
  Vector4 vectors[kVectors] = {};
};
inline constexpr unsigned kRowVectorSize = 4;
inline constexpr unsigned kWarpRowFeatures = kWarpSize * kRowVectorSize;  ///< of a vector in every lane

/// The lane's first feature. Opaque: the compiler would keep the places of all vectors in registers throughout.
__device__ __forceinline__ unsigned first_feature() { return opaque(threadIdx.x % kWarpSize * kRowVectorSize); }

/// Calls body(vector, at) for the vectors of this lane that lie in the row; `at` is a vector's first feature. `width` is a multiple of 4.
template <unsigned kVectors, class Body>
__device__ __forceinline__ void for_each_vector(WarpRow<kVectors>& row, unsigned width, const Body& body) {
  const unsigned first = first_feature();
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) {
    const unsigned at = v * kWarpRowFeatures + first;
    if (at < width) body(row.vectors[v], at);
  }
}

template <unsigned kVectors>
__device__ __forceinline__ WarpRow<kVectors> operator+(const WarpRow<kVectors>& a, const WarpRow<kVectors>& b) {
  WarpRow<kVectors> sum;
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) sum.vectors[v] = a.vectors[v] + b.vectors[v];
  return sum;
}

/// What lies in global memory of a row, on its way to a lane's registers (load_ahead). In words: the compiler takes a 16-bit value apart
/// where the register is written, and gives each half a register.
template <class T, unsigned kVectors>
struct StoredRow {
#if defined(PETS_EMULATED_CUDA)
  using Words = StoredVector<T, kRowVectorSize>;
#else
  using Words = std::conditional_t<sizeof(T) == sizeof(float), uint4, uint2>;
#endif
  Words vectors[kVectors];

  __device__ __forceinline__ void load(const T* from, unsigned width, bool there = true) {
#pragma unroll
    for (unsigned v = 0; v < kVectors; ++v) {
      const unsigned at = (v * kWarpSize + threadIdx.x % kWarpSize) * kRowVectorSize;
#if defined(PETS_EMULATED_CUDA)
      vectors[v] = there && at < width ? load_stored<kRowVectorSize>(from + at) : Words{};
#elif defined(__CUDACC__)
      vectors[v] = detail::load_words(reinterpret_cast<const Words*>(from + at), there && at < width);
#endif
    }
  }
  __device__ __forceinline__ Vector4 operator[](unsigned v) const {
    StoredVector<T, kRowVectorSize> vector;
    *reinterpret_cast<Words*>(&vector) = vectors[v];
    return to_floats(vector);
  }
};
template <class T, unsigned kVectors>
__device__ __forceinline__ WarpRow<kVectors> to_floats(const StoredRow<T, kVectors>& stored) {
  WarpRow<kVectors> row;
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) row.vectors[v] = stored[v];
  return row;
}

/// row = row - mean; the result is the lane's part of the sum of squares. Two passes over registers, the same order of sums for every row.
/// All lanes of the warp together.
template <unsigned kVectors>
__device__ __forceinline__ float center(WarpRow<kVectors>& row, unsigned width) {
  float sum = 0;
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) {
#pragma unroll
    for (unsigned i = 0; i < kRowVectorSize; ++i) sum += row.vectors[v][i];
  }
  const float mean = warp_sum(sum) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) {
    const bool there = (v * kWarpSize + threadIdx.x % kWarpSize) * kRowVectorSize < width;
#pragma unroll
    for (unsigned i = 0; i < kRowVectorSize; ++i) {
      float& x = row.vectors[v][i];
      x = there ? x - mean : 0;
      squares = fmaf(x, x, squares);
    }
  }
  return squares;
}
/// 1 / sqrt(variance + epsilon) of a row whose lanes have these sums of squares.
__device__ __forceinline__ float inverse_deviation(float squares, unsigned width, float epsilon) {
  return 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
}

/// row = (row - mean) / sqrt(variance + epsilon) * gamma + beta, with parameters that are read when they are needed, in few registers.
template <unsigned kVectors>
__device__ __forceinline__ void normalize(WarpRow<kVectors>& row, unsigned width, const float* gamma, const float* beta, float epsilon) {
  const float squares = center(row, width);
  for_each_vector(row, width, [&](Vector4& x, unsigned at) { x = x * load_vector<kRowVectorSize>(gamma + at); });
  const float inverse = inverse_deviation(squares, width, epsilon);
  for_each_vector(row, width, [&](Vector4& x, unsigned at) {
    x = fma(x, constant_vector<kRowVectorSize>(inverse), load_vector<kRowVectorSize>(beta + at));
  });
}
/// The same with parameters that are there, or on their way: asking for them before the sums covers their way, in twice the row's
/// registers.
template <unsigned kVectors>
__device__ __forceinline__ void normalize(WarpRow<kVectors>& row, unsigned width, const StoredRow<float, kVectors>& gamma,
                                          const StoredRow<float, kVectors>& beta, float epsilon) {
  const float squares = center(row, width);
  const Vector4 inverse = constant_vector<kRowVectorSize>(inverse_deviation(squares, width, epsilon));
#pragma unroll
  for (unsigned v = 0; v < kVectors; ++v) row.vectors[v] = fma(row.vectors[v] * gamma[v], inverse, beta[v]);
}

}  // namespace pets::kernels::cuda
