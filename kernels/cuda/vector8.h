// Neighbouring values of a row, mostly eight: what a lane moves at once and computes with in float.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// One access of 16 bytes, the widest that a lane has, for 16-bit types; two for float, one of 8 bytes for int8.
inline constexpr unsigned kVectorSize = 8;

/// The same value, a register's, of which the compiler does not know that it is: what follows from it is derived after the call, not kept
/// in registers from the kernel's start on, and the value itself is kept, not made anew for every use.
template <class V>
__device__ __forceinline__ V opaque(V value) {
#if defined(__CUDACC__)
  if constexpr (sizeof(V) == sizeof(uint64_t)) {
    asm volatile("" : "+l"(value));
  } else {
    asm volatile("" : "+r"(value));
  }
#endif
  return value;
}

/// Neighbouring values in float.
template <unsigned kSize>
struct FloatVector {
  float values[kSize];
  __device__ __forceinline__ float& operator[](unsigned i) { return values[i]; }
  __device__ __forceinline__ const float& operator[](unsigned i) const { return values[i]; }
};
using Vector8 = FloatVector<kVectorSize>;
/// One access of 16 bytes for float: what lanes take where float parameters are most of what they read. With eight, a warp's access would
/// be every other 16 bytes of twice the span, and take L1 twice as long.
using Vector4 = FloatVector<4>;

/// As it lies in memory.
template <class T, unsigned kSize>
struct alignas(kSize * sizeof(T) < 16 ? kSize * sizeof(T) : 16) StoredVector {
  T values[kSize];
};
template <class T>
using StoredVector8 = StoredVector<T, kVectorSize>;

/// `from` is aligned as the vector is: eight values, 16 bytes; of int8, 8.
template <unsigned kSize = kVectorSize, class T>
__device__ __forceinline__ StoredVector<T, kSize> load_stored(const T* from) {
  return *reinterpret_cast<const StoredVector<T, kSize>*>(from);
}
template <class T, unsigned kSize>
__device__ __forceinline__ void store_stored(T* to, const StoredVector<T, kSize>& vector) {
  *reinterpret_cast<StoredVector<T, kSize>*>(to) = vector;
}

namespace detail {

#if defined(__CUDACC__)
/// Volatile, and predicated rather than behind a branch: see load_ahead.
__device__ __forceinline__ uint2 load_words(const uint2* from, bool there) {
  uint2 words;
  asm volatile(
      "{ .reg .pred there; setp.ne.u32 there, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0;"
      " @there ld.global.v2.b32 {%0, %1}, [%2]; }"
      : "=&r"(words.x), "=&r"(words.y)
      : "l"(from), "r"(static_cast<unsigned>(there)));
  return words;
}
__device__ __forceinline__ uint4 load_words(const uint4* from, bool there) {
  uint4 words;
  asm volatile(
      "{ .reg .pred there; setp.ne.u32 there, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"
      " @there ld.global.v4.b32 {%0, %1, %2, %3}, [%4]; }"
      : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
      : "l"(from), "r"(static_cast<unsigned>(there)));
  return words;
}
/// What no other thread of the multiprocessor reads: L1 is not to keep it instead of what is read again.
__device__ __forceinline__ uint4 load_words_once(const uint4* from, bool there) {
  uint4 words;
  asm volatile(
      "{ .reg .pred there; setp.ne.u32 there, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"
      " @there ld.global.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4]; }"
      : "=&r"(words.x), "=&r"(words.y), "=&r"(words.z), "=&r"(words.w)
      : "l"(from), "r"(static_cast<unsigned>(there)));
  return words;
}
#endif

}  // namespace detail

/// A vector of global memory (at least 8 bytes), asked for where the call stands. The compiler moves other loads to the first use of their
/// values, behind branches and waits for loads before them; these stay in flight together. Where `there` is false, nothing is read and the
/// values are zero. Memory that the thread itself has written may be seen as it was before.
template <unsigned kSize = kVectorSize, class T>
__device__ __forceinline__ StoredVector<T, kSize> load_ahead(const T* from, bool there) {
  StoredVector<T, kSize> vector = {};
#if defined(PETS_EMULATED_CUDA)
  if (there) vector = load_stored<kSize>(from);
#elif defined(__CUDACC__)
  using Words = std::conditional_t<sizeof(vector) == sizeof(uint2), uint2, uint4>;
  static_assert(sizeof(vector) % sizeof(Words) == 0);
#pragma unroll
  for (unsigned i = 0; i < sizeof(vector) / sizeof(Words); ++i) {
    reinterpret_cast<Words*>(&vector)[i] = detail::load_words(reinterpret_cast<const Words*>(from) + i, there);
  }
#endif
  return vector;
}

template <class T, unsigned kSize>
__device__ __forceinline__ FloatVector<kSize> to_floats(const StoredVector<T, kSize>& stored) {
  FloatVector<kSize> vector;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) vector[i] = to_float(stored.values[i]);
  return vector;
}
template <unsigned kSize = kVectorSize, class T>
__device__ __forceinline__ FloatVector<kSize> load_vector(const T* from) {
  return to_floats(load_stored<kSize>(from));
}

/// Each value rounded once.
template <class T, unsigned kSize>
__device__ __forceinline__ void store_vector(T* to, const FloatVector<kSize>& vector) {
  StoredVector<T, kSize> stored;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) stored.values[i] = from_float<T>(vector[i]);
  store_stored(to, stored);
}

template <unsigned kSize = kVectorSize>
__device__ __forceinline__ FloatVector<kSize> constant_vector(float value) {
  FloatVector<kSize> vector;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) vector[i] = value;
  return vector;
}
/// A parameter that may be absent.
template <unsigned kSize = kVectorSize>
__device__ __forceinline__ FloatVector<kSize> load_or(const float* from, unsigned at, float otherwise) {
  return from != nullptr ? load_vector<kSize>(from + at) : constant_vector<kSize>(otherwise);
}

template <unsigned kSize>
__device__ __forceinline__ FloatVector<kSize> operator+(const FloatVector<kSize>& a, const FloatVector<kSize>& b) {
  FloatVector<kSize> sum;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) sum[i] = a[i] + b[i];
  return sum;
}
template <unsigned kSize>
__device__ __forceinline__ FloatVector<kSize> operator*(const FloatVector<kSize>& a, const FloatVector<kSize>& b) {
  FloatVector<kSize> product;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) product[i] = a[i] * b[i];
  return product;
}
/// a * b + c, rounded once.
template <unsigned kSize>
__device__ __forceinline__ FloatVector<kSize> fma(const FloatVector<kSize>& a, const FloatVector<kSize>& b, const FloatVector<kSize>& c) {
  FloatVector<kSize> sum;
#pragma unroll
  for (unsigned i = 0; i < kSize; ++i) sum[i] = fmaf(a[i], b[i], c[i]);
  return sum;
}

}  // namespace pets::kernels::cuda
