// Products of shared linears through cuBLASLt, which lets the algorithm be chosen: the one that its heuristics put first, or, where a shape
// was tuned, the one that was the fastest on this device. Where that is not optimal: algorithms that the heuristics do not offer are not
// tried, and tuning has the weights of one linear's layers pass, not those of the whole encoder, so that a large L2 may hold them.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <span>

#include "runtime/cuda/device.h"
#include "runtime/cuda/product_plans.h"

namespace pets::cuda {

/// What cuBLASLt holds, destroyed with it.
template <class T, cublasStatus_t (*kDestroy)(T)>
struct LtDelete {
  using pointer = T;
  void operator()(T object) const { (void)kDestroy(object); }
};
template <class T, cublasStatus_t (*kDestroy)(T)>
using LtObject = std::unique_ptr<T, LtDelete<T, kDestroy>>;
using LtLayout = LtObject<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtOperation = LtObject<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtPreference = LtObject<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// The products of one queue. Descriptors and algorithms are made at a shape's first product and kept. One thread uses it.
class LtProducts {
 public:
  /// Before anything else. The handle and the workspace (kWorkspaceBytes) are the queue's; both are used in the stream's order only.
  /// `float_compute`: how products of floats are computed.
  void open(cublasHandle_t cublas, cudaStream_t stream, std::byte* workspace, cublasComputeType_t float_compute);
  /// Queues a product. False: cuBLASLt cannot compute this one, nothing was queued.
  template <class T>
  Result<bool> queue(const Product<T>& call) noexcept;
  /// Queue::tune.
  template <class T>
  Status tune(const Product<T>& call, std::span<const T* const> weights) noexcept;

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;  ///< of `operations_`
    LtLayout w, x, y;
    cublasLtMatmulAlgo_t algorithm = {};
    bool served = false;  ///< false: cuBLASLt has no algorithm
    bool tuned = false;
  };
  /// Algorithms to choose among: as many as the heuristics are asked for.
  static constexpr int kMostAlgorithms = 16;
  using Algorithms = std::array<cublasLtMatmulHeuristicResult_t, kMostAlgorithms>;

  template <class T>
  Plan& plan_of(const Product<T>& call);
  template <class T>
  bool describe(const Product<T>& call, Plan& plan);
  template <class T>
  cublasLtMatmulDesc_t operation();
  /// Of at most `most` algorithms those that can run, the one expected to be the fastest first; how many.
  template <class T>
  int offered(const Plan& plan, const ProductShape& shape, int most, Algorithms& algorithms) const;
  cublasStatus_t run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w, void* y) const;
  template <class T>
  Status choose(const Product<T>& call, std::span<const T* const> weights, Plan& plan);

  cublasLtHandle_t handle_ = nullptr;  // the cuBLAS handle's own
  cudaStream_t stream_ = nullptr;
  std::byte* workspace_ = nullptr;
  cublasComputeType_t float_compute_ = CUBLAS_COMPUTE_32F;
  std::array<LtOperation, 3> operations_;  // by type; only a plan that is in use points to one
  ProductPlans<Plan> plans_;
};

}  // namespace pets::cuda
