// Device memory, copies and products over the CUDA runtime, cuBLASLt (product_cuda.h) and cuBLAS.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <new>
#include <utility>

#include "kernels/cuda/probe.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/product_cuda.h"
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

/// Counts how often the device was begun anew: what belongs to an earlier life is gone, and its address may be another's by now.
std::atomic<uint32_t> device_life{1};

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraphExec_t exec) : exec_(exec), life_(device_life) {}
  ~CudaGraph() override {
    if (life_ == device_life) (void)cudaGraphExecDestroy(exec_);
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  cudaGraphExec_t exec() const { return exec_; }

 private:
  cudaGraphExec_t exec_;
  uint32_t life_;
};

class CudaQueue final : public Queue {
 public:
  CudaQueue() = default;
  ~CudaQueue() override {
    if (life_ != device_life) return;
    if (cublas_ != nullptr) (void)cublasDestroy(cublas_);
    if (forked_ != nullptr) (void)cudaEventDestroy(forked_);
    for (cudaEvent_t event : joined_) {
      if (event != nullptr) (void)cudaEventDestroy(event);
    }
    for (cudaStream_t stream : streams_) {
      if (stream != nullptr) (void)cudaStreamDestroy(stream);
    }
  }
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  Status open(const QueueOptions& options) {
    const uint32_t streams = options.streams;
    if (options.tf32) float_compute_ = CUBLAS_COMPUTE_32F_FAST_TF32;
    for (uint32_t i = 0; i < streams; ++i) {
      PETS_RETURN_IF_ERROR(checked("a stream", cudaStreamCreateWithFlags(&streams_[i], cudaStreamNonBlocking)));
    }
    if (streams > 1) PETS_RETURN_IF_ERROR(checked("an event", cudaEventCreateWithFlags(&forked_, cudaEventDisableTiming)));
    for (uint32_t i = 1; i < streams; ++i) {
      PETS_RETURN_IF_ERROR(checked("an event", cudaEventCreateWithFlags(&joined_[i], cudaEventDisableTiming)));
    }
    return {};
  }

  Status set_workspace(std::byte* workspace) noexcept override {
    PETS_RETURN_IF_ERROR(cublas("a handle", cublasCreate(&cublas_)));
    PETS_RETURN_IF_ERROR(cublas("the handle's stream", cublasSetStream(cublas_, streams_[0])));
    PETS_RETURN_IF_ERROR(cublas("its workspace", cublasSetWorkspace(cublas_, workspace, kWorkspaceBytes)));
    products_.open(cublas_, streams_[0], workspace, float_compute_);
    return {};
  }
  Stream stream(uint32_t index) const noexcept override { return streams_[index]; }
  Status fork(uint32_t streams) noexcept override {
    if (streams <= 1) return {};
    PETS_RETURN_IF_ERROR(checked("a fork", cudaEventRecord(forked_, streams_[0])));
    for (uint32_t i = 1; i < streams; ++i) PETS_RETURN_IF_ERROR(checked("a fork", cudaStreamWaitEvent(streams_[i], forked_, 0)));
    return {};
  }
  Status join(uint32_t streams) noexcept override {
    for (uint32_t i = 1; i < streams; ++i) {
      PETS_RETURN_IF_ERROR(checked("a join", cudaEventRecord(joined_[i], streams_[i])));
      PETS_RETURN_IF_ERROR(checked("a join", cudaStreamWaitEvent(streams_[0], joined_[i], 0)));
    }
    return {};
  }
  Status upload(void* to, const void* from, size_t bytes) noexcept override {
    return copy("a copy to the device", to, from, bytes, cudaMemcpyHostToDevice);
  }
  Status download(void* to, const void* from, size_t bytes) noexcept override {
    return copy("a copy to the host", to, from, bytes, cudaMemcpyDeviceToHost);
  }
  Status product(const Product<float>& call) noexcept override { return shared_product(call); }
  Status product(const Product<Half>& call) noexcept override { return shared_product(call); }
  Status product(const Product<BFloat16>& call) noexcept override { return shared_product(call); }
  Status tune(const Product<float>& call, std::span<const float* const> weights) noexcept override { return products_.tune(call, weights); }
  Status tune(const Product<Half>& call, std::span<const Half* const> weights) noexcept override { return products_.tune(call, weights); }
  Status tune(const Product<BFloat16>& call, std::span<const BFloat16* const> weights) noexcept override {
    return products_.tune(call, weights);
  }
  /// The form that tensor cores take of integers: OP_T, OP_N, sizes and leading dimensions multiples of 4, of 16 for their fastest kernels.
  Status product(const Int8Product& call) noexcept override {
    if (call.rows == 0) return {};
    const int32_t one = 1, zero = 0;
    return cublas(
        "a product of integers",
        cublasGemmEx(cublas_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(call.out), static_cast<int>(call.rows), static_cast<int>(call.in),
                     &one, call.w, CUDA_R_8I, static_cast<int>(call.in), call.x, CUDA_R_8I, static_cast<int>(call.in), &zero, call.y,
                     CUDA_R_32I, static_cast<int>(call.out), CUBLAS_COMPUTE_32I, CUBLAS_GEMM_DEFAULT));
  }
  Status launched() noexcept override { return checked("a kernel's launch", cudaGetLastError()); }
  Status synchronize() noexcept override { return checked("the work on the device", cudaStreamSynchronize(streams_[0])); }

  Status begin_capture() noexcept override {
    return checked("a capture", cudaStreamBeginCapture(streams_[0], cudaStreamCaptureModeThreadLocal));
  }
  Result<std::unique_ptr<Graph>> end_capture() noexcept override {
    cudaGraph_t captured = nullptr;
    PETS_RETURN_IF_ERROR(checked("a capture", cudaStreamEndCapture(streams_[0], &captured)));
    cudaGraphExec_t exec = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&exec, captured, 0);
    (void)cudaGraphDestroy(captured);
    PETS_RETURN_IF_ERROR(checked("a graph", error));
    std::unique_ptr<Graph> graph(new (std::nothrow) CudaGraph(exec));
    if (graph == nullptr) {
      (void)cudaGraphExecDestroy(exec);
      return Status::error(ErrorCode::kResourceExhausted, "a graph: out of memory");
    }
    return graph;
  }
  Status replay(const Graph& graph) noexcept override {
    return checked("a graph's launch", cudaGraphLaunch(static_cast<const CudaGraph&>(graph).exec(), streams_[0]));
  }

 private:
  static Status cublas(const char* what, cublasStatus_t status) {
    if (status == CUBLAS_STATUS_SUCCESS) return Status::ok();
    return Status::error(ErrorCode::kInternal, "cuBLAS: %s: %s", what, cublasGetStatusString(status));
  }
  Status copy(const char* what, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    return bytes == 0 ? Status::ok() : checked(what, cudaMemcpyAsync(to, from, bytes, kind, streams_[0]));
  }
  template <class T>
  Status shared_product(const Product<T>& call) {
    PETS_ASSIGN_OR_RETURN(const bool queued, products_.queue(call));
    return queued ? Status::ok() : multiply(call);
  }
  /// What cuBLASLt has no algorithm for.
  /// cuBLAS sees row-major matrices as their transposes in column-major order: y^T [out x rows] = w [out x in] x^T [in x rows].
  template <class T>
  Status multiply(const Product<T>& call) {
    if (call.rows == 0) return {};
    const float one = 1, zero = 0;
    return cublas("a product",
                  cublasGemmEx(cublas_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(call.out), static_cast<int>(call.rows),
                               static_cast<int>(call.in), &one, call.w, kDataType<T>, static_cast<int>(call.in), call.x, kDataType<T>,
                               static_cast<int>(call.in), &zero, call.y, kDataType<T>, static_cast<int>(call.out_stride),
                               std::is_same_v<T, float> ? float_compute_ : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  }

  uint32_t life_ = device_life;
  std::array<cudaStream_t, kMostStreams> streams_ = {};
  std::array<cudaEvent_t, kMostStreams> joined_ = {};
  cudaEvent_t forked_ = nullptr;
  cublasHandle_t cublas_ = nullptr;
  cublasComputeType_t float_compute_ = CUBLAS_COMPUTE_32F;
  LtProducts products_;
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
  if (cudaFree(nullptr) != cudaSuccess) {  // an error of the context's, which every later call would report again
    ++device_life;
    PETS_RETURN_IF_ERROR(checked("the device, begun anew", cudaDeviceReset()));
    (void)cudaGetLastError();
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
  std::swap(life_, other.life_);
  return *this;
}
DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr && life_ == device_life) (void)cudaFree(data_);
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
  memory.life_ = device_life;
  PETS_RETURN_IF_ERROR(checked(what, cudaMemset(data, 0, bytes)));
  // The queues' streams do not wait for the default one: what they write next would be zeroed.
  PETS_RETURN_IF_ERROR(checked(what, cudaDeviceSynchronize()));
  return memory;
}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(life_, other.life_);
  return *this;
}
HostMemory::~HostMemory() {
  if (data_ != nullptr && life_ == device_life) (void)cudaFreeHost(data_);
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
  memory.life_ = device_life;
  return memory;
}

Result<std::unique_ptr<Queue>> Queue::create(const QueueOptions& options) noexcept {
  std::unique_ptr<CudaQueue> queue(new (std::nothrow) CudaQueue());
  if (queue == nullptr) return Status::error(ErrorCode::kResourceExhausted, "a queue: out of memory");
  PETS_RETURN_IF_ERROR(queue->open(options));
  return std::unique_ptr<Queue>(std::move(queue));
}

ProfilerRange::ProfilerRange(const char* name) noexcept { (void)nvtxRangePushA(name); }
ProfilerRange::~ProfilerRange() { (void)nvtxRangePop(); }

}  // namespace pets::cuda
