// Eight neighbouring values of a row: what a lane moves at once and computes with in float.
#pragma once

#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {

/// One access of 16 bytes, the widest that a lane has, for 16-bit types; two for float, one of 8 bytes for int8.
inline constexpr unsigned kVectorSize = 8;

struct Vector8 {
  float values[kVectorSize];
  __device__ __forceinline__ float& operator[](unsigned i) { return values[i]; }
  __device__ __forceinline__ const float& operator[](unsigned i) const { return values[i]; }
};

/// As it lies in memory.
template <class T>
struct alignas(sizeof(T) == 1 ? 8 : 16) StoredVector8 {
  T values[kVectorSize];
};

/// `from` is 16-byte aligned, of int8 8-byte aligned.
template <class T>
__device__ __forceinline__ StoredVector8<T> load_stored(const T* from) {
  return *reinterpret_cast<const StoredVector8<T>*>(from);
}
template <class T>
__device__ __forceinline__ void store_stored(T* to, const StoredVector8<T>& vector) {
  *reinterpret_cast<StoredVector8<T>*>(to) = vector;
}

template <class T>
__device__ __forceinline__ Vector8 load_vector(const T* from) {
  const StoredVector8<T> stored = load_stored(from);
  Vector8 vector;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) vector[i] = to_float(stored.values[i]);
  return vector;
}

/// Each value rounded once.
template <class T>
__device__ __forceinline__ void store_vector(T* to, const Vector8& vector) {
  StoredVector8<T> stored;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) stored.values[i] = from_float<T>(vector[i]);
  store_stored(to, stored);
}

__device__ __forceinline__ Vector8 constant_vector(float value) {
  Vector8 vector;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) vector[i] = value;
  return vector;
}
/// A parameter that may be absent.
__device__ __forceinline__ Vector8 load_or(const float* from, unsigned at, float otherwise) {
  return from != nullptr ? load_vector(from + at) : constant_vector(otherwise);
}

__device__ __forceinline__ Vector8 operator+(const Vector8& a, const Vector8& b) {
  Vector8 sum;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) sum[i] = a[i] + b[i];
  return sum;
}
__device__ __forceinline__ Vector8 operator*(const Vector8& a, const Vector8& b) {
  Vector8 product;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) product[i] = a[i] * b[i];
  return product;
}
/// a * b + c, rounded once.
__device__ __forceinline__ Vector8 fma(const Vector8& a, const Vector8& b, const Vector8& c) {
  Vector8 sum;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) sum[i] = fmaf(a[i], b[i], c[i]);
  return sum;
}

}  // namespace pets::kernels::cuda
