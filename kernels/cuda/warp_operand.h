// Products of 16 x 16 tiles by one warp whose operands lie in its registers, read straight from where they are: no shared memory between,
// and as many loads in flight as there are registers for.
//
// Both operands are 16 rows of 32 neighbouring values of the depth: of a linear, 16 rows of x and 16 rows of its weight [out][in]. Lane
// 4 g + t holds the values 8 t to 8 t + 7 of rows g and g + 8, one access of 16 bytes each (int8: 8), and four lanes read 64 neighbouring
// bytes. That is not the order in which mma.m16n8k16 and m16n8k32 number the depth, but it is the same order in both operands, and a sum
// does not mind.
#pragma once

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

inline constexpr unsigned kTile = 16;   ///< rows of an operand
inline constexpr unsigned kDepth = 32;  ///< of an operand

/// Values from row to row of an operand in shared memory: an odd multiple of 64 bytes, so that the two rows that eight lanes of an operand
/// read together lie in different banks.
template <class T>
__host__ __device__ constexpr unsigned operand_stride(unsigned columns) {
  constexpr unsigned kBytes = sizeof(T);
  return ((columns * kBytes + 63) / 128 * 128 + 64) / kBytes;
}

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
  /// The same from global memory, asked for where the call stands (vector8.h). kOnce: for weights, of which a block reads each once.
  template <bool kOnce = true>
  __device__ __forceinline__ void load_ahead(const T* from, unsigned stride, unsigned valid_rows, unsigned valid_depth) {
    const unsigned row = threadIdx.x % kWarpSize / 4, at = threadIdx.x % 4 * kVectorSize;
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      const T* const place = from + (row + i * kTile / 2) * stride + at;
      const bool there = row + i * kTile / 2 < valid_rows && at < valid_depth;
#if defined(__CUDACC__)
      if constexpr (kOnce) {
        static_assert(sizeof(rows[i]) % sizeof(uint4) == 0);
#pragma unroll
        for (unsigned word = 0; word < sizeof(rows[i]) / sizeof(uint4); ++word) {
          reinterpret_cast<uint4*>(&rows[i])[word] = detail::load_words_once(reinterpret_cast<const uint4*>(place) + word, there);
        }
        continue;
      }
#endif
      rows[i] = cuda::load_ahead(place, there);
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

/// Two neighbours in registers that are a word of 16-bit values (4-byte aligned), in float and rounded back, one instruction each. Taken
/// one by one, values of a vector in registers easily get a register each.
template <class T>
__device__ __forceinline__ void read_pair(const T* from, float& first, float& second) {
#if defined(__CUDACC__) && !defined(PETS_EMULATED_CUDA)
  if constexpr (sizeof(T) < sizeof(float)) {
    const unsigned word = *reinterpret_cast<const unsigned*>(from);
    if constexpr (std::is_same_v<T, Half>) {
      asm("{.reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(first), "=f"(second) : "r"(word));
    } else {
      first = __uint_as_float(word << 16);
      second = __uint_as_float(word & 0xFFFF0000U);
    }
    return;
  }
#endif
  first = to_float(from[0]);
  second = to_float(from[1]);
}
template <class T>
__device__ __forceinline__ void write_pair(T* to, float first, float second) {
#if defined(__CUDACC__) && !defined(PETS_EMULATED_CUDA)
  if constexpr (sizeof(T) < sizeof(float)) {
    unsigned word;
    if constexpr (std::is_same_v<T, Half>) {
      asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    } else {
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    }
    *reinterpret_cast<unsigned*>(to) = word;
    return;
  }
#endif
  to[0] = from_float<T>(first);
  to[1] = from_float<T>(second);
}

/// Operands of one 16 x 8 x 16 product in the order of mma.m16n8k16, for those that are in registers already: lane 4 g + t has of the left
/// one depth 2 t, 2 t + 1 of row g, the same of row g + 8, then both with depth 8 more, so the values of WarpSums, as they are, can be one;
/// of the right one depth 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of row g.
template <class T>
struct alignas(16) LeftFragment {
  T values[8];
};
template <class T>
struct alignas(8) RightFragment {
  T values[4];
};

/// Value j of each of four vectors in registers.
template <class T, class V>
__device__ __forceinline__ RightFragment<T> across(const V (&vectors)[4], unsigned j) {
#if defined(__CUDACC__) && !defined(PETS_EMULATED_CUDA)
  if constexpr (sizeof(T) < sizeof(float)) {
    unsigned words[4];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) words[i] = reinterpret_cast<const unsigned*>(vectors[i].values)[j / 2];
    RightFragment<T> result;
    const unsigned halves = j % 2 == 0 ? 0x5410 : 0x7632;
    *reinterpret_cast<uint2*>(&result) = {__byte_perm(words[0], words[1], halves), __byte_perm(words[2], words[3], halves)};
    return result;
  }
#endif
  return {{vectors[0].values[j], vectors[1].values[j], vectors[2].values[j], vectors[3].values[j]}};
}

/// sums += left right^T: value i of a lane is the sum of WarpSums::row(i) and 2 t + i % 2. All lanes of the warp together.
template <class T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const LeftFragment<T>& left, const RightFragment<T>& right) {
#if defined(PETS_EMULATED_CUDA)
  struct Operands {
    const LeftFragment<T>* left;
    const RightFragment<T>* right;
  } own{&left, &right};
  const Operands* all[kWarpSize];
  emulation::show_all(&own, all);
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = WarpSums::row(i) % 8, column = WarpSums::column(i);
    for (unsigned k = 0; k < kTile; ++k) {
      const auto& a = all[row * 4 + k % 8 / 2]->left->values[k % 2 + k / 8 * 4 + i / 2 * 2];
      const auto& b = all[column * 4 + k % 8 / 2]->right->values[k % 2 + k / 8 * 2];
      sums[i] = fmaf(to_float(a), to_float(b), sums[i]);
    }
  }
  __syncwarp();  // all have read
#elif defined(__CUDACC__)
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (unsigned k = 0; k < kTile; ++k) {
      const int lane = static_cast<int>(threadIdx.x % kWarpSize), from = k % 8 / 2;
      float a[2], b[2];
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
        a[i] = __shfl_sync(kAllLanes, left.values[k % 2 + k / 8 * 4 + i * 2], lane / 4 * 4 + from);
        b[i] = __shfl_sync(kAllLanes, right.values[k % 2 + k / 8 * 2], (lane % 4 * 2 + static_cast<int>(i)) * 4 + from);
      }
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) sums[i] = fmaf(a[i / 2], b[i % 2], sums[i]);
    }
  } else {
    const auto a = *reinterpret_cast<const uint4*>(&left);
    const auto b = *reinterpret_cast<const uint2*>(&right);
    detail::multiply_add_half<T>(sums, a.x, a.y, a.z, a.w, b.x, b.y);
  }
#endif
}

/// Two neighbours of a row, as they lie in memory.
template <class T>
struct alignas(2 * sizeof(T)) StoredPair {
  T values[2];
};
/// The same in registers for a while. In a word: the compiler takes a 16-bit value apart where the register is written, and gives each half
/// a register.
template <class T>
class HeldPair {
 public:
  /// Zeros where `there` is false: nothing is read.
  __device__ __forceinline__ void load(const StoredPair<T>* from, bool there) {
    word_ = {};
    if (there) word_ = *reinterpret_cast<const Word*>(from);
  }
  __device__ __forceinline__ StoredPair<T> get() const { return *reinterpret_cast<const StoredPair<T>*>(&word_); }

 private:
#if defined(PETS_EMULATED_CUDA)
  using Word = StoredPair<T>;
#else
  using Word = std::conditional_t<sizeof(T) == sizeof(float), uint2, unsigned>;
#endif
  Word word_;
};

}  // namespace pets::kernels::cuda
