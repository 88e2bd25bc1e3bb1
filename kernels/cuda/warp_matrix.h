// Products of 16 x 16 tiles by one warp, on tensor cores where the type has them.
#pragma once

#include "kernels/cuda/device.h"

#if defined(__CUDACC__)
#include <mma.h>
#endif

namespace pets::kernels::cuda {

inline constexpr unsigned kTile = 16;  ///< rows, columns and depth of a product

/// A 16 x 16 tile of sums in float, spread over the lanes of a warp. All lanes of the warp call every function together.
///
/// Operands lie in shared or global memory, row-major: a is [16 rows][lda], b is [16 columns][ldb], the orientation of a linear's
/// weight [out, in], so sums[r][c] += sum over k < 16 of a[r][k] * b[c][k]. Pointers are 32-byte aligned, leading dimensions multiples of
/// 16 bytes (wmma's rules).
template <class T>
class WarpTile {
 public:
  __device__ WarpTile() {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) sums_[i] = 0;
  }

  __device__ void multiply_add(const T* a, unsigned lda, const T* b, unsigned ldb) {
#if defined(PETS_EMULATED_CUDA)
    emulation::expect_aligned(a, lda * sizeof(T));
    emulation::expect_aligned(b, ldb * sizeof(T));
#endif
    // Unrolled whole, the operands of all steps take the registers that the caller's sums need: 4 bytes spilled in the attention.
#pragma unroll 4
    for (unsigned k = 0; k < kTile; ++k) {
      const float left = to_float(a[row() * lda + k]);
#pragma unroll
      for (unsigned i = 0; i < kOwn; ++i) sums_[i] = fmaf(left, to_float(b[(column() + i) * ldb + k]), sums_[i]);
    }
  }

  /// to: [16][ld] floats, ld a multiple of 4. The caller orders it before other lanes' reads (__syncwarp).
  __device__ void store(float* to, unsigned ld) const {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) to[row() * ld + column() + i] = sums_[i];
  }

 private:
  // Two lanes a row, eight columns each.
  static constexpr unsigned kOwn = kTile * kTile / kWarpSize;
  __device__ static unsigned row() { return threadIdx.x % kWarpSize / 2; }
  __device__ static unsigned column() { return threadIdx.x % 2 * kOwn; }
  float sums_[kOwn];
};

#if defined(__CUDACC__)
namespace detail {

template <class T>
class TensorCoreTile {
 public:
  __device__ TensorCoreTile() { nvcuda::wmma::fill_fragment(sums_, 0.0F); }
  __device__ void multiply_add(const T* a, unsigned lda, const T* b, unsigned ldb) {
    nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, kTile, kTile, kTile, T, nvcuda::wmma::row_major> left;
    nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, kTile, kTile, kTile, T, nvcuda::wmma::col_major> right;
    nvcuda::wmma::load_matrix_sync(left, a, lda);
    nvcuda::wmma::load_matrix_sync(right, b, ldb);
    nvcuda::wmma::mma_sync(sums_, left, right, sums_);
  }
  __device__ void store(float* to, unsigned ld) const { nvcuda::wmma::store_matrix_sync(to, sums_, ld, nvcuda::wmma::mem_row_major); }

 private:
  nvcuda::wmma::fragment<nvcuda::wmma::accumulator, kTile, kTile, kTile, float> sums_;
};

}  // namespace detail

template <>
class WarpTile<Half> : public detail::TensorCoreTile<Half> {};
template <>
class WarpTile<BFloat16> : public detail::TensorCoreTile<BFloat16> {};
#endif

}  // namespace pets::kernels::cuda
