// What every CUDA kernel here includes: the language (CUDA's own or, with PETS_EMULATED_CUDA, its emulation on the CPU) and the types of
// activations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(PETS_EMULATED_CUDA)
#include <functional>
#include <vector>

#include "kernels/cuda/emulation/simt.h"
#include "kernels/gemm/panel_layout.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#endif

namespace pets::kernels::cuda {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFF;

#if !defined(PETS_EMULATED_CUDA)
using Half = __half;
using BFloat16 = __nv_bfloat16;
using Stream = cudaStream_t;
#if defined(__CUDACC__)  // what the kernels are made of; a host compiler sees the types alone
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(BFloat16 x) { return __bfloat162float(x); }
/// Rounds to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else if constexpr (std::is_same_v<T, Half>) {
    return __float2half_rn(x);
  } else {
    return __float2bfloat16_rn(x);
  }
}

/// The block's dynamic shared memory, 128-byte aligned: tensor cores' tiles need 32.
template <class T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(128) uint4 pets_dynamic_shared_memory[];
  return reinterpret_cast<T*>(pets_dynamic_shared_memory);
}

/// First in every kernel, in all of its threads: waits for the launches before it, and lets the one after it come so far. With compute
/// capability 9 or more the blocks of a launch then begin while the one before still runs (CUDA's programmatic dependent launch), so what
/// lies between two launches is no time of both. Before the wait a kernel may read only what no launch of its batch writes; a block must
/// not end without it, or the launch would seem to be over, and the next one begin, before those ahead of it are.
__device__ __forceinline__ void follow_earlier_launches() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Whether the current device begins launches early.
inline bool launches_overlap() {
  static const bool overlap = [] {
    int device = 0, major = 0;
    constexpr int kFirstMajor = 9;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= kFirstMajor;
  }();
  return overlap;
}

/// Before a launch with so many bytes of dynamic shared memory: more than every launch may have must be asked for. A refusal is the
/// launch's error, too.
template <class... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), size_t bytes) {
  constexpr size_t kUnasked = size_t{48} << 10;
  if (bytes > kUnasked) (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}

/// Queues kernel(arguments...). Errors of the launch are the caller's to fetch (cudaGetLastError).
template <class... Parameters, class... Arguments>
void launch(Stream stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Arguments&... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = launches_overlap() ? 1 : 0;
  (void)cudaLaunchKernelEx(&config, kernel, arguments...);
}
#endif
#else
/// 16-bit floats as bits: arithmetic is done in float.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
/// Where a queue captures what is launched, to run it later and again: launches in order, their arguments by value as in a CUDA graph.
struct Stream {
  std::vector<std::function<void()> >* captured = nullptr;
};

inline float to_float(float x) { return x; }
inline float to_float(Half x) { return float_from_half(x.bits); }
inline float to_float(BFloat16 x) { return float_from_bfloat(x.bits); }
template <class T>
T from_float(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else if constexpr (std::is_same_v<T, Half>) {
    return {half_from_float(x)};
  } else {
    return {bfloat_from_float(x)};
  }
}
template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(emulation::place().shared);
}
inline void follow_earlier_launches() {}
template <class... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), size_t bytes) {
  emulation::allow_shared_memory(reinterpret_cast<const void*>(kernel), bytes);
}
template <class... Parameters, class... Arguments>
void launch(Stream stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Arguments&... arguments) {
  emulation::expect_shared_memory_allowed(reinterpret_cast<const void*>(kernel), shared_bytes);
  if (stream.captured == nullptr) return emulation::run_grid(grid, block, shared_bytes, [&] { kernel(arguments...); });
  stream.captured->push_back([=] { emulation::run_grid(grid, block, shared_bytes, [&] { kernel(arguments...); }); });
}
#endif

/// Of the current device; 1 where it does not say.
inline unsigned multiprocessors() {
#if defined(PETS_EMULATED_CUDA)
  return 16;  // as Orin
#else
  int device = 0, count = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess;
  return known ? static_cast<unsigned>(count) : 1;
#endif
}

#if defined(PETS_EMULATED_CUDA) || defined(__CUDACC__)
/// The sum over all lanes of a warp, in every lane, by halving: the same order for every value.
__device__ __forceinline__ float warp_sum(float x) {
  for (int offset = static_cast<int>(kWarpSize) / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int offset = static_cast<int>(kWarpSize) / 2; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, x, offset);
    x = x < other ? other : x;
  }
  return x;
}
#endif

}  // namespace pets::kernels::cuda
