// What the engine needs of CUDA's libraries: memory, a queue of work, and the products of shared linears (cuBLASLt, cuBLAS). Implemented
// over CUDA (device_cuda.cc, product_cuda.h), and in plain C++ for tests without a GPU (emulation/device_emulated.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/cuda/device.h"
#include "pets/status.h"

namespace pets::cuda {

using kernels::cuda::BFloat16;
using kernels::cuda::Half;
using kernels::cuda::Stream;

inline constexpr size_t kDeviceAlignment = 256;  ///< cudaMalloc's

struct DeviceInfo {
  char name[256] = {};
  uint64_t total_bytes = 0, free_bytes = 0;
};

/// The device that will be used (CUDA's current one, CUDA_VISIBLE_DEVICES chooses). Fails where there is none, its driver is too old, or
/// this build has no code for its architecture. After an error that CUDA never forgets (a kernel's wrong address), under which all of this
/// process's memory and queues are lost anyhow, it begins with a device as new.
Result<DeviceInfo> probe_device() noexcept;

/// A named stretch of this thread's time in a profiler's timeline (NVTX); costs a few nanoseconds where no profiler listens.
class ProfilerRange {
 public:
  /// `name` is a literal.
  explicit ProfilerRange(const char* name) noexcept;
  ~ProfilerRange();  // NOLINT(performance-trivially-destructible): over CUDA it does something
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

/// Device memory, kDeviceAlignment-aligned, zeroed. Movable.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { *this = static_cast<DeviceMemory&&>(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();
  /// `what` names the purpose in the message of a refusal, which has the bytes asked and free.
  static Result<DeviceMemory> allocate(size_t bytes, const char* what) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] uint32_t life_ = 0;  // of the device, in which this was allocated
};

/// Page-locked host memory, which copies can be queued from and to. Movable.
class HostMemory {
 public:
  HostMemory() = default;
  HostMemory(HostMemory&& other) noexcept { *this = static_cast<HostMemory&&>(other); }
  HostMemory& operator=(HostMemory&& other) noexcept;
  ~HostMemory();
  static Result<HostMemory> allocate(size_t bytes) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] uint32_t life_ = 0;  // of the device, in which this was allocated
};

/// y = x w^T: x [rows][in], w [out][in] (PyTorch's orientation of a linear), y [rows][out_stride]; sums in float.
template <class T>
struct Product {
  const T* x = nullptr;
  const T* w = nullptr;
  T* y = nullptr;
  uint32_t rows = 0, in = 0, out = 0, out_stride = 0;
};

/// The same of integers, whose sums are exact: in * 128^2 must fit 31 bits. The engine's own kernel
/// (kernels/quantize/integer_product_cuda.h) needs no memory for the sums; this is what it is measured against.
struct Int8Product {
  const int8_t* x = nullptr;  ///< 16-byte aligned, as is w
  const int8_t* w = nullptr;
  int32_t* y = nullptr;                ///< [rows][out], 16-byte aligned
  uint32_t rows = 0, in = 0, out = 0;  ///< multiples of kInt8Multiple
};
inline constexpr uint32_t kInt8Multiple = 16;  ///< what tensor cores' kernels for integers take

/// Bytes of a queue's workspace: what cuBLAS recommends for Hopper; smaller devices need less.
inline constexpr size_t kWorkspaceBytes = size_t{32} << 20;
inline constexpr uint32_t kMostStreams = 32;

/// Work that a queue captured, ready to be queued again as one piece (a CUDA graph).
class Graph {
 public:
  virtual ~Graph() = default;
};

struct QueueOptions {
  uint32_t streams = 1;  ///< at most kMostStreams: launches can be spread over so many between Queue::fork and Queue::join
  bool tf32 = false;     ///< products of floats round their operands to TF32, 10 bits of mantissa
};

/// Work in order. One thread uses a queue at a time. Everything is queued and returns at once, but `synchronize`, which also reports what
/// went wrong in anything queued before.
class Queue {
 public:
  static Result<std::unique_ptr<Queue>> create(const QueueOptions& options = {}) noexcept;
  virtual ~Queue() = default;
  /// Before the first product. `workspace`: kWorkspaceBytes of device memory, kDeviceAlignment-aligned, so that no product allocates.
  virtual Status set_workspace(std::byte* workspace) noexcept = 0;
  /// 0: the one that everything but launches goes to.
  virtual Stream stream(uint32_t index = 0) const noexcept = 0;
  /// What is launched on streams 1 to `streams` - 1 from now on comes after all that was queued before.
  virtual Status fork(uint32_t streams) noexcept = 0;
  /// What is queued from now on comes after what was launched on these streams.
  virtual Status join(uint32_t streams) noexcept = 0;
  /// `from` stays as it is until the copy has been made.
  virtual Status upload(void* to, const void* from, size_t bytes) noexcept = 0;
  virtual Status download(void* to, const void* from, size_t bytes) noexcept = 0;
  virtual Status product(const Product<float>& call) noexcept = 0;
  virtual Status product(const Product<Half>& call) noexcept = 0;
  virtual Status product(const Product<BFloat16>& call) noexcept = 0;
  virtual Status product(const Int8Product& call) noexcept = 0;
  /// Finds out how products of this shape are computed fastest; later ones are computed so, and their last bits may be others than before,
  /// and others where another way is found. Nothing to do where the shape was tuned before. `weights` (not empty) take turns as call.w, so
  /// that they come from memory as in an encoder. Takes some 10 ms, at most about a second; reads x whatever it holds, overwrites y, waits
  /// for the device, allocates. Not between begin_capture and end_capture.
  virtual Status tune(const Product<float>& call, std::span<const float* const> weights) noexcept = 0;
  virtual Status tune(const Product<Half>& call, std::span<const Half* const> weights) noexcept = 0;
  virtual Status tune(const Product<BFloat16>& call, std::span<const BFloat16* const> weights) noexcept = 0;
  /// Whether every kernel since the last call was launched.
  virtual Status launched() noexcept = 0;
  virtual Status synchronize() noexcept = 0;

  /// What is queued from now on does not run but becomes a graph, arguments and addresses as they are now. Host memory of copies must be
  /// page-locked.
  virtual Status begin_capture() noexcept = 0;
  /// Must follow begin_capture, also where something between them failed. Allocates.
  virtual Result<std::unique_ptr<Graph>> end_capture() noexcept = 0;
  virtual Status replay(const Graph& graph) noexcept = 0;
};

}  // namespace pets::cuda
