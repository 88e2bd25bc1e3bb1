// Device memory, copies and products over the CUDA runtime and cuBLAS.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <new>
#include <utility>

#include "kernels/cuda/probe.h"
#include "runtime/cuda/device.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

Status cuda_error(const char* what, cudaError_t error) {
  return Status::error(error == cudaErrorMemoryAllocation ? ErrorCode::kResourceExhausted : ErrorCode::kInternal, "cuda: %s: %s (%d)", what,
                       cudaGetErrorString(error), static_cast<int>(error));
}
Status checked(const char* what, cudaError_t error) { return error == cudaSuccess ? Status::ok() : cuda_error(what, error); }

template <class T>
constexpr cudaDataType_t kDataType = std::is_same_v<T, float>  ? CUDA_R_32F
                                     : std::is_same_v<T, Half> ? CUDA_R_16F
                                                               : CUDA_R_16BF;

class CudaQueue final : public Queue {
 public:
  CudaQueue() = default;
  ~CudaQueue() override {
    if (cublas_ != nullptr) (void)cublasDestroy(cublas_);
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  Status open() {
    PETS_RETURN_IF_ERROR(checked("a stream", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)));
    PETS_RETURN_IF_ERROR(cublas("a handle", cublasCreate(&cublas_)));
    PETS_RETURN_IF_ERROR(cublas("the handle's stream", cublasSetStream(cublas_, stream_)));
    // Given once, so that no product allocates. The size is what cuBLAS recommends for Hopper; smaller devices need less.
    PETS_ASSIGN_OR_RETURN(workspace_, DeviceMemory::allocate(kWorkspaceBytes, "cuBLAS's workspace"));
    return cublas("its workspace", cublasSetWorkspace(cublas_, workspace_.data(), workspace_.size()));
  }

  Stream stream() const noexcept override { return stream_; }
  Status upload(void* to, const void* from, size_t bytes) noexcept override {
    return copy("a copy to the device", to, from, bytes, cudaMemcpyHostToDevice);
  }
  Status download(void* to, const void* from, size_t bytes) noexcept override {
    return copy("a copy to the host", to, from, bytes, cudaMemcpyDeviceToHost);
  }
  Status product(const Product<float>& call) noexcept override { return multiply(call); }
  Status product(const Product<Half>& call) noexcept override { return multiply(call); }
  Status product(const Product<BFloat16>& call) noexcept override { return multiply(call); }
  Status launched() noexcept override { return checked("a kernel's launch", cudaGetLastError()); }
  Status synchronize() noexcept override { return checked("the work on the device", cudaStreamSynchronize(stream_)); }

 private:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  static Status cublas(const char* what, cublasStatus_t status) {
    if (status == CUBLAS_STATUS_SUCCESS) return Status::ok();
    return Status::error(ErrorCode::kInternal, "cuBLAS: %s: %s", what, cublasGetStatusString(status));
  }
  Status copy(const char* what, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return bytes == 0 ? Status::ok() : checked(what, cudaMemcpyAsync(to, from, bytes, kind, stream_));
  }
  /// cuBLAS sees row-major matrices as their transposes in column-major order: y^T [out x rows] = w [out x in] x^T [in x rows].
  template <class T>
  Status multiply(const Product<T>& call) {
    if (call.rows == 0) return {};
    const float one = 1, zero = 0;
    return cublas("a product", cublasGemmEx(cublas_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(call.out), static_cast<int>(call.rows),
                                            static_cast<int>(call.in), &one, call.w, kDataType<T>, static_cast<int>(call.in), call.x,
                                            kDataType<T>, static_cast<int>(call.in), &zero, call.y, kDataType<T>,
                                            static_cast<int>(call.out_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  }

  cudaStream_t stream_ = nullptr;
  cublasHandle_t cublas_ = nullptr;
  DeviceMemory workspace_;
};

}  // namespace

Result<DeviceInfo> probe_device() noexcept {
  int count = 0;  // left unwritten where there is no driver
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    const char* reason =
        error == cudaErrorInsufficientDriver ? "no driver, or one older than this build's CUDA" : cudaGetErrorString(error);
    return Status::error(ErrorCode::kUnsupported, "backend cuda: no CUDA device: %s (%d); the cpu backend works without one",
                         error == cudaSuccess ? "none is visible" : reason, static_cast<int>(error));
  }
  int device = 0;
  PETS_RETURN_IF_ERROR(checked("the current device", cudaGetDevice(&device)));
  cudaDeviceProp properties;
  PETS_RETURN_IF_ERROR(checked("the device's properties", cudaGetDeviceProperties(&properties, device)));
  DeviceInfo info;
  std::snprintf(info.name, sizeof info.name, "%s", properties.name);
  size_t free_bytes = 0, total_bytes = 0;
  PETS_RETURN_IF_ERROR(checked("the device's memory", cudaMemGetInfo(&free_bytes, &total_bytes)));
  info.free_bytes = free_bytes;
  info.total_bytes = total_bytes;
  if (const cudaError_t error = kernels::cuda::has_code(); error != cudaSuccess) {
    return Status::error(ErrorCode::kUnsupported, "backend cuda: %s has compute capability %d.%d, for which this build has no code (%s)",
                         info.name, properties.major, properties.minor, cudaGetErrorString(error));
  }
  return info;
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) (void)cudaFree(data_);
}
Result<DeviceMemory> DeviceMemory::allocate(size_t bytes, const char* what) noexcept {
  DeviceMemory memory;
  if (bytes == 0) return memory;
  void* data = nullptr;
  if (const cudaError_t error = cudaMalloc(&data, bytes); error != cudaSuccess) {
    (void)cudaGetLastError();  // the next launch is not to report it again
    size_t free_bytes = 0, total_bytes = 0;
    (void)cudaMemGetInfo(&free_bytes, &total_bytes);
    return Status::error(ErrorCode::kResourceExhausted, "%s: asked for %zu bytes of device memory, %zu of %zu are free (%s)", what, bytes,
                         free_bytes, total_bytes, cudaGetErrorString(error));
  }
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_ = bytes;
  PETS_RETURN_IF_ERROR(checked(what, cudaMemset(data, 0, bytes)));
  // The queues' streams do not wait for the default one: what they write next would be zeroed.
  PETS_RETURN_IF_ERROR(checked(what, cudaDeviceSynchronize()));
  return memory;
}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
HostMemory::~HostMemory() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}
Result<HostMemory> HostMemory::allocate(size_t bytes) noexcept {
  HostMemory memory;
  if (bytes == 0) return memory;
  void* data = nullptr;
  if (const cudaError_t error = cudaMallocHost(&data, bytes); error != cudaSuccess) {
    (void)cudaGetLastError();
    return Status::error(ErrorCode::kResourceExhausted, "cannot allocate %zu bytes of page-locked host memory (%s)", bytes,
                         cudaGetErrorString(error));
  }
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_ = bytes;
  return memory;
}

Result<std::unique_ptr<Queue>> Queue::create() noexcept {
  std::unique_ptr<CudaQueue> queue(new (std::nothrow) CudaQueue());
  if (queue == nullptr) return Status::error(ErrorCode::kResourceExhausted, "a queue: out of memory");
  PETS_RETURN_IF_ERROR(queue->open());
  return std::unique_ptr<Queue>(std::move(queue));
}

ProfilerRange::ProfilerRange(const char* name) noexcept { (void)nvtxRangePushA(name); }
ProfilerRange::~ProfilerRange() { (void)nvtxRangePop(); }

}  // namespace pets::cuda
