// Masks on values in registers.
#pragma once

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {

/// The highest bits of four of the bytes of `bytes`, eight times each: of byte k0 lowest, of k3 highest.
template <unsigned k0, unsigned k1, unsigned k2, unsigned k3>
__device__ __forceinline__ unsigned spread_signs(unsigned bytes) {
#if defined(PETS_EMULATED_CUDA)
  unsigned spread = 0;
  for (const unsigned from : {k3, k2, k1, k0}) spread = spread << 8 | ((bytes >> (8 * from + 7) & 1) != 0 ? 0xFFU : 0);
  return spread;
#elif defined(__CUDACC__)
  constexpr unsigned kSigns = 0x8888;  // of a selector of prmt (PTX ISA, 9.7.8.7): the bytes' signs eight times
  unsigned spread;
  asm("prmt.b32 %0, %1, %1, %2;" : "=r"(spread) : "r"(bytes), "n"(kSigns | k0 | k1 << 4 | k2 << 8 | k3 << 12));
  return spread;
#endif
}

/// The bits of +0 for the values whose bits are not set in `keep`: eight bits, of the first value the highest.
template <class V>
__device__ __forceinline__ void keep_values(StoredVector8<V>& values, unsigned keep) {
  if constexpr (sizeof(V) == sizeof(float)) {
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) values.values[i] = (keep << i & 0x80) != 0 ? values.values[i] : 0;
  } else {
    // Four copies that do not meet, each a bit further to the left: the highest bits of four bytes are the four highest of `keep`.
    const unsigned first = keep * 0x08040201, second = first << 4;
    if constexpr (sizeof(V) == 1) {
      uint2& words = *reinterpret_cast<uint2*>(&values);
      words.x &= spread_signs<0, 1, 2, 3>(first);
      words.y &= spread_signs<0, 1, 2, 3>(second);
    } else {
      uint4& words = *reinterpret_cast<uint4*>(&values);
      words.x &= spread_signs<0, 0, 1, 1>(first);
      words.y &= spread_signs<2, 2, 3, 3>(first);
      words.z &= spread_signs<0, 0, 1, 1>(second);
      words.w &= spread_signs<2, 2, 3, 3>(second);
    }
  }
}

}  // namespace pets::kernels::cuda
