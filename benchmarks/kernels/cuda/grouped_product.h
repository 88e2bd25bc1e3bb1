// cuBLAS's grouped products, as PET operators of many tasks would use them.
#pragma once

#include <vector>

#include "benchmarks/kernels/cuda/gpu.h"

namespace pets::benchmarks::gpu {

/// y = x w^T + beta y of one task: x [rows][in], w [out][w_stride], y [rows][y_stride].
struct TaskProduct {
  const Half* x = nullptr;
  const Half* w = nullptr;
  Half* y = nullptr;
  int rows = 0, in = 0, out = 0, x_stride = 0, w_stride = 0, y_stride = 0;
};

/// All tasks' products in one call of cublasGemmGroupedBatchedEx (CUDA 12.5 and later), sums in float. Neighbours of one shape are one
/// group.
class GroupedProduct {
 public:
  GroupedProduct(cublasHandle_t cublas, const std::vector<TaskProduct>& tasks, float beta);
  static bool available();
  /// Throws where cuBLAS refuses.
  void queue() const;

 private:
  cublasHandle_t cublas_;
  std::vector<cublasOperation_t> transposed_, plain_;
  std::vector<int> m_, n_, k_, lda_, ldb_, ldc_, sizes_;
  std::vector<float> alpha_, beta_;
  Array<const void*> w_, x_;
  Array<void*> y_;
};

}  // namespace pets::benchmarks::gpu
