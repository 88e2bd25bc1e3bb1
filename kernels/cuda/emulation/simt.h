// Runs CUDA kernels on the CPU, so that they are tested where no GPU is: one fiber a CUDA thread, the blocks of a grid one after another.
//
// The kernels' source is compiled as C++ with this header instead of CUDA's. It has what they use of the language: the qualifiers, the
// built-in variables, dynamic shared memory, __syncthreads, __syncwarp and shuffles over full or partial masks. A warp's lanes run until
// they meet a collective operation, in ascending or (EMULATED_LANES=reversed) descending order, so that a missing barrier shows. What has
// no meaning on a device ends in an error instead of a hang: a barrier that some threads of a block never reach, a collective without
// all lanes of its mask, a read or write of shared memory outside the block's own (AddressSanitizer).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier): CUDA's names
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)

namespace pets::kernels::cuda::emulation {

/// What a running thread sees of itself. One OS thread runs one grid at a time.
struct Place {
  dim3 thread, block, block_size, grid_size;
  std::byte* shared = nullptr;
};
const Place& place();

/// Waits for all threads of the block that have not ended.
void block_barrier();
/// Gives `value` (up to 8 bytes) to the lanes of `mask`, waits for all of them, and returns what `source` gave; the lane's own value where
/// `source` is no thread of the block.
uint64_t exchange(unsigned mask, uint64_t value, unsigned source);
unsigned vote(unsigned mask, bool value);
/// What every lane of a warp of 32 gave, in all of them.
void show_all(const void* own, const void* (&all)[32]);
template <class T>
void show_all(const T* own, const T* (&all)[32]) {
  const void* shown[32];
  show_all(static_cast<const void*>(own), shown);
  for (unsigned i = 0; i < 32; ++i) all[i] = static_cast<const T*>(shown[i]);
}

/// Runs `body` once for every thread of every block. Errors of the kernel (see above) are thrown as std::logic_error.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

template <class T>
T shuffle(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, source);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// A device's rule: a launch with more than 48 KiB of dynamic shared memory is refused, here with std::logic_error, unless so much was
/// allowed for its kernel before.
void allow_shared_memory(const void* kernel, size_t bytes);
void expect_shared_memory_allowed(const void* kernel, size_t bytes);

inline unsigned lane() { return place().thread.x % 32; }

}  // namespace pets::kernels::cuda::emulation

// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier)
#define threadIdx (pets::kernels::cuda::emulation::place().thread)
#define blockIdx (pets::kernels::cuda::emulation::place().block)
#define blockDim (pets::kernels::cuda::emulation::place().block_size)
#define gridDim (pets::kernels::cuda::emulation::place().grid_size)

inline void __syncthreads() { pets::kernels::cuda::emulation::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0U) { (void)pets::kernels::cuda::emulation::vote(mask, false); }
inline unsigned __ballot_sync(unsigned mask, int value) { return pets::kernels::cuda::emulation::vote(mask, value != 0); }
inline int __any_sync(unsigned mask, int value) { return __ballot_sync(mask, value) != 0 ? 1 : 0; }
template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return pets::kernels::cuda::emulation::shuffle(mask, value, static_cast<unsigned>(source) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return pets::kernels::cuda::emulation::shuffle(mask, value, pets::kernels::cuda::emulation::lane() ^ static_cast<unsigned>(bits));
}
template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  for (int bits = 16; bits > 0; bits /= 2) {
    const unsigned other = __shfl_xor_sync(mask, value, bits);
    value = value < other ? other : value;
  }
  return value;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
/// To nearest, halves to even; NaN becomes 0.
inline int __float2int_rn(float x) { return std::isnan(x) ? 0 : static_cast<int>(std::nearbyint(x)); }
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)
