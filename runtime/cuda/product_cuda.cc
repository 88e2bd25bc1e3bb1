#include "runtime/cuda/product_cuda.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

template <class T>
constexpr cudaDataType_t kDataType = std::is_same_v<T, float>  ? CUDA_R_32F
                                     : std::is_same_v<T, Half> ? CUDA_R_16F
                                                               : CUDA_R_16BF;
template <class T>
constexpr uint32_t kTypeNumber = std::is_same_v<T, float>  ? 0
                                 : std::is_same_v<T, Half> ? 1
                                                           : 2;

template <class T>
ProductShape shape_of(const Product<T>& call) {
  return {kTypeNumber<T>,           call.rows, call.in, call.out, call.out_stride, operand_alignment(call.x), operand_alignment(call.w),
          operand_alignment(call.y)};
}

/// Whether cuBLASLt has found, before anything was queued, that it cannot do this.
bool refused(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE || status == CUBLAS_STATUS_ARCH_MISMATCH;
}

/// Two events of a stream.
class Timer {
 public:
  explicit Timer(cudaStream_t stream) : stream_(stream) {}
  ~Timer() {
    for (cudaEvent_t event : events_) {
      if (event != nullptr) (void)cudaEventDestroy(event);
    }
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  bool open() {
    for (cudaEvent_t& event : events_) {
      if (cudaEventCreate(&event) == cudaSuccess) continue;
      (void)cudaGetLastError();
      return false;
    }
    return true;
  }
  /// Waits for the seconds that what `queue` queues takes, which returns whether it could. It is queued twice: behind the first, nothing
  /// waits for this thread. Infinite where it could not be queued; an error is the device's own.
  template <class F>
  cudaError_t time(double& seconds, const F& queue) {
    float milliseconds = 0;
    const bool queued =
        queue() && cudaEventRecord(events_[0], stream_) == cudaSuccess && queue() && cudaEventRecord(events_[1], stream_) == cudaSuccess;
    if (const cudaError_t error = cudaStreamSynchronize(stream_); error != cudaSuccess) return error;
    const bool timed = queued && cudaEventElapsedTime(&milliseconds, events_[0], events_[1]) == cudaSuccess;
    if (!timed) (void)cudaGetLastError();
    seconds = timed ? double{milliseconds} * 1e-3 : std::numeric_limits<double>::infinity();
    return cudaSuccess;
  }

 private:
  cudaStream_t stream_;
  std::array<cudaEvent_t, 2> events_ = {};
};

/// Launches of one algorithm, as a graph: what is timed is the device, not how fast this thread queues.
class Sample {
 public:
  Sample() = default;
  Sample(Sample&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
  Sample& operator=(Sample&& other) noexcept {
    std::swap(exec_, other.exec_);
    return *this;
  }
  ~Sample() {
    if (exec_ != nullptr) (void)cudaGraphExecDestroy(exec_);
  }

  /// `queue` returns whether it could. False: there is no sample, and no error is left behind.
  template <class F>
  bool capture(cudaStream_t stream, const F& queue) {
    cudaGraph_t graph = nullptr;
    bool captured = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    if (captured) {
      captured = queue();
      captured = cudaStreamEndCapture(stream, &graph) == cudaSuccess && captured;  // also where the queuing failed
    }
    captured = captured && cudaGraphInstantiate(&exec_, graph, 0) == cudaSuccess && cudaGraphUpload(exec_, stream) == cudaSuccess;
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    if (!captured) (void)cudaGetLastError();
    return captured;
  }
  bool launch(cudaStream_t stream) const { return cudaGraphLaunch(exec_, stream) == cudaSuccess; }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

struct Candidate {
  cublasLtMatmulAlgo_t algorithm = {};
  Sample sample;
  std::vector<double> seconds;  ///< of its samples
};

Status tuning_failed(cudaError_t error) {
  return Status::error(ErrorCode::kInternal, "cuda: the work on the device, while products were tuned: %s (%d)", cudaGetErrorString(error),
                       static_cast<int>(error));
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Times the candidates in turn and leaves those that may be the fastest, in their order. None is left where time ran out before one was
/// timed. An error is the device's own.
cudaError_t time_candidates(cudaStream_t stream, Timer& timer, std::vector<Candidate>& candidates) {
  using Clock = std::chrono::steady_clock;
  constexpr uint32_t kRounds = 5;
  constexpr double kHopeless = 1.25;                          // times the fastest in the first round: not timed again
  constexpr std::chrono::duration<double> kMostSeconds(0.5);  // large products of floats on a small device: fewer rounds, fewer algorithms
  const auto start = Clock::now();
  const auto late = [&] { return Clock::now() - start > kMostSeconds; };
  for (uint32_t round = 0; round < kRounds && !late(); ++round) {
    for (Candidate& candidate : candidates) {
      if (round == 0 && late()) break;
      double seconds = 0;
      const cudaError_t error = timer.time(seconds, [&] { return candidate.sample.launch(stream); });
      if (error != cudaSuccess) return error;
      candidate.seconds.push_back(seconds);
    }
    if (round != 0) continue;
    std::erase_if(candidates, [](const Candidate& candidate) { return candidate.seconds.empty(); });
    double least = candidates.empty() ? 0 : candidates.front().seconds.front();
    for (const Candidate& candidate : candidates) least = std::min(least, candidate.seconds.front());
    std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.seconds.front() > least * kHopeless; });
    if (candidates.size() <= 1) break;
  }
  return cudaSuccess;
}

}  // namespace

void LtProducts::open(cublasHandle_t cublas, cudaStream_t stream, std::byte* workspace, cublasComputeType_t float_compute) {
  handle_ = reinterpret_cast<cublasLtHandle_t>(cublas);  // documented: a cuBLAS handle can be used in place of one of cuBLASLt
  stream_ = stream;
  workspace_ = workspace;
  float_compute_ = float_compute;
}

template <class T>
cublasLtMatmulDesc_t LtProducts::operation() {
  LtOperation& kept = operations_[kTypeNumber<T>];
  if (kept != nullptr) return kept.get();
  cublasLtMatmulDesc_t made = nullptr;
  if (cublasLtMatmulDescCreate(&made, std::is_same_v<T, float> ? float_compute_ : CUBLAS_COMPUTE_32F, CUDA_R_32F) !=
      CUBLAS_STATUS_SUCCESS) {
    return nullptr;
  }
  LtOperation owner(made);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  if (cublasLtMatmulDescSetAttribute(made, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) != CUBLAS_STATUS_SUCCESS) {
    return nullptr;
  }
  kept = std::move(owner);
  return made;
}

/// cuBLASLt sees row-major matrices as their transposes in column-major order: y^T [out x rows] = w [out x in] x^T [in x rows].
template <class T>
bool LtProducts::describe(const Product<T>& call, Plan& plan) {
  const auto layout = [](LtLayout& made, uint32_t rows, uint32_t columns, uint32_t stride) {
    cublasLtMatrixLayout_t created = nullptr;
    const bool done = cublasLtMatrixLayoutCreate(&created, kDataType<T>, rows, columns, stride) == CUBLAS_STATUS_SUCCESS;
    if (done) made.reset(created);
    return done;
  };
  plan.operation = operation<T>();
  return plan.operation != nullptr && layout(plan.w, call.in, call.out, call.in) && layout(plan.x, call.in, call.rows, call.in) &&
         layout(plan.y, call.out, call.rows, call.out_stride);
}

template <class T>
int LtProducts::offered(const Plan& plan, const ProductShape& shape, int most, Algorithms& algorithms) const {
  cublasLtMatmulPreference_t made = nullptr;
  if (cublasLtMatmulPreferenceCreate(&made) != CUBLAS_STATUS_SUCCESS) return 0;
  const LtPreference preference(made);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    return cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
  };
  // Sums stay in float: no parts of them in the output's 16 bits.
  constexpr uint32_t kFloatSums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;  // and CUBLASLT_REDUCTION_SCHEME_NONE, which is no bit
  int found = 0;
  if (!set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes}) ||
      !set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::is_same_v<T, float> ? uint32_t{CUBLASLT_REDUCTION_SCHEME_MASK} : kFloatSums) ||
      !set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, uint32_t{shape.w_alignment}) ||
      !set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, uint32_t{shape.x_alignment}) ||
      !set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, uint32_t{shape.y_alignment}) ||
      !set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, uint32_t{shape.y_alignment}) ||
      cublasLtMatmulAlgoGetHeuristic(handle_, plan.operation, plan.w.get(), plan.x.get(), plan.y.get(), plan.y.get(), made, most,
                                     algorithms.data(), &found) != CUBLAS_STATUS_SUCCESS) {
    return 0;
  }
  const auto end = std::remove_if(algorithms.begin(), algorithms.begin() + std::min(found, most), [](const auto& algorithm) {
    return algorithm.state != CUBLAS_STATUS_SUCCESS || algorithm.workspaceSize > kWorkspaceBytes;
  });
  return static_cast<int>(end - algorithms.begin());
}

template <class T>
LtProducts::Plan& LtProducts::plan_of(const Product<T>& call) {
  const ProductShape shape = shape_of(call);
  if (Plan* found = plans_.find(shape)) return *found;
  Plan& plan = plans_.add(shape);
  Algorithms algorithms;
  if (describe(call, plan) && offered<T>(plan, shape, 1, algorithms) == 1) {
    plan.algorithm = algorithms[0].algo;
    plan.served = true;
  }
  return plan;
}

cublasStatus_t LtProducts::run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w, void* y) const {
  const float one = 1, zero = 0;
  return cublasLtMatmul(handle_, plan.operation, &one, w, plan.w.get(), x, plan.x.get(), &zero, y, plan.y.get(), y, plan.y.get(),
                        &algorithm, workspace_, kWorkspaceBytes, stream_);
}

template <class T>
Result<bool> LtProducts::queue(const Product<T>& call) noexcept {
  if (call.rows == 0) return true;
  Plan& plan = plan_of(call);
  if (!plan.served) return false;
  const cublasStatus_t status = run(plan, plan.algorithm, call.x, call.w, call.y);
  if (status == CUBLAS_STATUS_SUCCESS) return true;
  if (!refused(status)) return Status::error(ErrorCode::kInternal, "cuBLASLt: a product: %s", cublasLtGetStatusString(status));
  plan.served = false;
  return false;
}

/// Has the plan keep the fastest algorithm. Whatever keeps candidates from being timed, but the device's own errors, leaves the plan as it
/// was.
template <class T>
Status LtProducts::choose(const Product<T>& call, std::span<const T* const> weights, Plan& plan) {
  constexpr double kSampleSeconds = 1.5e-4;  // where an event's half microsecond does not count
  constexpr double kMostCalls = 32;          // of a sample, for the smallest products
  Algorithms algorithms;
  const int count = offered<T>(plan, shape_of(call), kMostAlgorithms, algorithms);
  Timer timer(stream_);
  if (count <= 1 || !timer.open()) return {};
  std::vector<Candidate> candidates;
  for (int i = 0; i < count; ++i) {  // the first run loads the code, and tells whether there is any
    const cublasStatus_t status = run(plan, algorithms[i].algo, call.x, weights[0], call.y);
    if (status == CUBLAS_STATUS_SUCCESS) {
      candidates.emplace_back().algorithm = algorithms[i].algo;
    } else {
      (void)cudaGetLastError();
    }
  }
  if (const cudaError_t error = cudaStreamSynchronize(stream_); error != cudaSuccess) return tuning_failed(error);
  if (candidates.size() <= 1) return {};

  double once = 0;
  const auto run_once = [&] { return run(plan, candidates[0].algorithm, call.x, weights[0], call.y) == CUBLAS_STATUS_SUCCESS; };
  cudaError_t error = timer.time(once, run_once);
  if (error != cudaSuccess) return tuning_failed(error);
  const auto calls = static_cast<size_t>(std::clamp(kSampleSeconds / std::max(once, 1e-7), 1.0, kMostCalls));
  std::erase_if(candidates, [&](Candidate& candidate) {
    return !candidate.sample.capture(stream_, [&] {
      for (size_t n = 0; n < calls; ++n) {
        if (run(plan, candidate.algorithm, call.x, weights[n % weights.size()], call.y) != CUBLAS_STATUS_SUCCESS) return false;
      }
      return true;
    });
  });
  if (error = time_candidates(stream_, timer, candidates); error != cudaSuccess) return tuning_failed(error);
  std::vector<double> seconds;
  seconds.reserve(candidates.size());
  for (const Candidate& candidate : candidates) seconds.push_back(median(candidate.seconds));
  if (seconds.empty() || !std::isfinite(*std::min_element(seconds.begin(), seconds.end()))) return {};
  plan.algorithm = candidates[first_of_the_fastest(seconds)].algorithm;
  return {};
}

template <class T>
Status LtProducts::tune(const Product<T>& call, std::span<const T* const> weights) noexcept {
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  if (call.rows == 0 || weights.empty()) return {};
  Product<T> with_weight = call;
  with_weight.w = weights[0];
  Plan& plan = plan_of(with_weight);
  if (plan.tuned || !plan.served) return {};
  if (const cudaError_t error = cudaStreamIsCapturing(stream_, &capturing); error != cudaSuccess) return tuning_failed(error);
  if (capturing != cudaStreamCaptureStatusNone) return {};
  plan.tuned = true;  // also where nothing comes of it: it would not the next time
  try {
    std::vector<const T*> alike(weights.begin(), weights.end());  // an algorithm may need the first one's alignment
    std::erase_if(alike, [&](const T* w) { return operand_alignment(w) != operand_alignment(weights[0]); });
    return choose<T>(with_weight, alike, plan);
  } catch (const std::bad_alloc&) {
    return {};
  }
}

template Result<bool> LtProducts::queue(const Product<float>&) noexcept;
template Result<bool> LtProducts::queue(const Product<Half>&) noexcept;
template Result<bool> LtProducts::queue(const Product<BFloat16>&) noexcept;
template Status LtProducts::tune(const Product<float>&, std::span<const float* const>) noexcept;
template Status LtProducts::tune(const Product<Half>&, std::span<const Half* const>) noexcept;
template Status LtProducts::tune(const Product<BFloat16>&, std::span<const BFloat16* const>) noexcept;

}  // namespace pets::cuda
