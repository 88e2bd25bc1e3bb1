// Products of 16 x 16 tiles by one warp whose operands lie in its registers, read straight from where they are: no shared memory between,
// and as many loads in flight as there are registers for.
//
// Both operands are 16 rows of 32 neighbouring values of the depth: of a linear, 16 rows of x and 16 rows of its weight [out][in]. Lane
// 4 g + t holds the values 8 t to 8 t + 7 of rows g and g + 8, one access of 16 bytes each (int8: 8), and four lanes read 64 neighbouring
// bytes. That is not the order in which mma.m16n8k16 and m16n8k32 number the depth, but it is the same order in both operands, and a sum
// does not mind.
#pragma once

#include "kernels/cuda/vector8.h"
#include "kernels/cuda/warp_matrix.h"

namespace pets::kernels::cuda {

inline constexpr unsigned kDepth = 32;  ///< of an operand

template <class T>
struct WarpOperand {
  StoredVector8<T> rows[2];

  /// `from`: the first row's first value, 16-byte aligned (int8: 8); `stride` values from row to row. Rows from `valid_rows` on and values
  /// from `valid_depth` (a multiple of 8) on are not read: they are zero.
  __device__ __forceinline__ void load(const T* from, unsigned stride, unsigned valid_rows, unsigned valid_depth) {
    const unsigned row = threadIdx.x % kWarpSize / 4, at = threadIdx.x % 4 * kVectorSize;
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      rows[i] = {};
      if (row + i * kTile / 2 < valid_rows && at < valid_depth) rows[i] = load_stored(from + (row + i * kTile / 2) * stride + at);
    }
  }
};

/// 16 x 16 sums: value i of a lane is the sum of row(i) of the left operand and row column(i) of the right one. Values 2 j and
/// 2 j + 1 are neighbours in a row.
template <class Value>
struct WarpSumsOf {
  static constexpr unsigned kOwn = kTile * kTile / kWarpSize;
  Value values[kOwn] = {};
  __device__ __forceinline__ static unsigned row(unsigned i) { return threadIdx.x % kWarpSize / 4 + i / 2 % 2 * kTile / 2; }
  __device__ __forceinline__ static unsigned column(unsigned i) { return i / 4 * kTile / 2 + threadIdx.x % 4 * 2 + i % 2; }
};

using WarpSums = WarpSumsOf<float>;
using WarpIntegerSums = WarpSumsOf<int32_t>;  ///< of int8, exact

namespace detail {

#if defined(__CUDACC__)
/// mma.m16n8k16 (PTX ISA, 9.7.14): d += a b for one half of the columns. Words are pairs of values.
template <class T>
__device__ __forceinline__ void multiply_add_half(float* d, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  if constexpr (std::is_same_v<T, Half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

/// mma.m16n8k32, likewise. Words are four integers.
__device__ __forceinline__ void multiply_add_half(int32_t* d, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
                                                  unsigned b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// For types without tensor cores that keep all bits: the lanes hand each other what they hold.
__device__ __forceinline__ void multiply_add(WarpSums& sums, const WarpOperand<float>& left, const WarpOperand<float>& right) {
#pragma unroll 1
  for (int from = 0; from < 4; ++from) {  // the lane of a row that holds this part of the depth
#pragma unroll
    for (unsigned k = 0; k < kVectorSize; ++k) {
      const int own = static_cast<int>(threadIdx.x % kWarpSize) / 4 * 4 + from;
      float a[2], b[4];
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) a[i] = __shfl_sync(kAllLanes, left.rows[i].values[k], own);
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const int column = static_cast<int>(threadIdx.x % 4 * 2 + i % 2);
        b[i] = __shfl_sync(kAllLanes, right.rows[i / 2].values[k], column * 4 + from);
      }
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) sums.values[i] = fmaf(a[i / 2 % 2], b[i / 4 * 2 + i % 2], sums.values[i]);
    }
  }
}
#elif defined(PETS_EMULATED_CUDA)
/// The lanes show each other their operands; every lane adds up its own sums by add(left, right, sum).
template <class Value, class T, class Add>
void multiply_add_shown(WarpSumsOf<Value>& sums, const WarpOperand<T>& left, const WarpOperand<T>& right, const Add& add) {
  using Sums = WarpSumsOf<Value>;
  struct Operands {
    const WarpOperand<T>*left, *right;
  } own{&left, &right};
  const Operands* all[kWarpSize];
  emulation::show_all(&own, all);
  for (unsigned i = 0; i < Sums::kOwn; ++i) {
    const unsigned row = Sums::row(i), column = Sums::column(i);
    for (unsigned from = 0; from < 4; ++from) {
      const auto& a = all[row % 8 * 4 + from]->left->rows[row / 8].values;
      const auto& b = all[column % 8 * 4 + from]->right->rows[column / 8].values;
      for (unsigned k = 0; k < kVectorSize; ++k) sums.values[i] = add(a[k], b[k], sums.values[i]);
    }
  }
  __syncwarp();  // all have read
}
#endif

}  // namespace detail

/// sums += left right^T. All lanes of the warp together.
template <class T>
__device__ __forceinline__ void multiply_add(WarpSums& sums, const WarpOperand<T>& left, const WarpOperand<T>& right) {
#if defined(PETS_EMULATED_CUDA)
  detail::multiply_add_shown(sums, left, right, [](T a, T b, float sum) { return fmaf(to_float(a), to_float(b), sum); });
#elif defined(__CUDACC__)
  if constexpr (std::is_same_v<T, float>) {
    detail::multiply_add(sums, left, right);
  } else {
    uint4 a[2], b[2];
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      a[i] = *reinterpret_cast<const uint4*>(&left.rows[i]);
      b[i] = *reinterpret_cast<const uint4*>(&right.rows[i]);
    }
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      detail::multiply_add_half<T>(sums.values + 4 * i, a[0].x, a[1].x, a[0].y, a[1].y, b[i].x, b[i].y);
      detail::multiply_add_half<T>(sums.values + 4 * i, a[0].z, a[1].z, a[0].w, a[1].w, b[i].z, b[i].w);
    }
  }
#endif
}

/// The same of integers.
__device__ __forceinline__ void multiply_add(WarpIntegerSums& sums, const WarpOperand<int8_t>& left, const WarpOperand<int8_t>& right) {
#if defined(PETS_EMULATED_CUDA)
  detail::multiply_add_shown(sums, left, right, [](int8_t a, int8_t b, int32_t sum) { return sum + int32_t{a} * b; });
#elif defined(__CUDACC__)
  uint2 a[2], b[2];
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) {
    a[i] = *reinterpret_cast<const uint2*>(&left.rows[i]);
    b[i] = *reinterpret_cast<const uint2*>(&right.rows[i]);
  }
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) detail::multiply_add_half(sums.values + 4 * i, a[0].x, a[1].x, a[0].y, a[1].y, b[i].x, b[i].y);
#endif
}

/// Two neighbours of a row, as they lie in memory.
template <class T>
struct alignas(2 * sizeof(T)) StoredPair {
  T values[2];
};

}  // namespace pets::kernels::cuda
