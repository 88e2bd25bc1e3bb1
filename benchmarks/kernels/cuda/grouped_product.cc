#include "benchmarks/kernels/cuda/grouped_product.h"

#include <tuple>

#if CUBLAS_VER_MAJOR > 12 || (CUBLAS_VER_MAJOR == 12 && CUBLAS_VER_MINOR >= 5)
#define PETS_GROUPED_PRODUCTS 1
#endif

namespace pets::benchmarks::gpu {

bool GroupedProduct::available() {
#if defined(PETS_GROUPED_PRODUCTS)
  return true;
#else
  return false;
#endif
}

// cuBLAS sees row-major matrices as their transposes in column-major order: y^T [out x rows] = w [out x in] x^T [in x rows].
GroupedProduct::GroupedProduct(cublasHandle_t cublas, const std::vector<TaskProduct>& tasks, float beta) : cublas_(cublas) {
  std::vector<const void*> w, x;
  std::vector<void*> y;
  const auto shape = [](const TaskProduct& t) { return std::tuple(t.rows, t.in, t.out, t.x_stride, t.w_stride, t.y_stride); };
  for (size_t i = 0; i < tasks.size(); ++i) {
    const TaskProduct& task = tasks[i];
    w.push_back(task.w);
    x.push_back(task.x);
    y.push_back(task.y);
    if (i != 0 && shape(task) == shape(tasks[i - 1])) {
      ++sizes_.back();
      continue;
    }
    transposed_.push_back(CUBLAS_OP_T);
    plain_.push_back(CUBLAS_OP_N);
    m_.push_back(task.out);
    n_.push_back(task.rows);
    k_.push_back(task.in);
    lda_.push_back(task.w_stride);
    ldb_.push_back(task.x_stride);
    ldc_.push_back(task.y_stride);
    sizes_.push_back(1);
    alpha_.push_back(1);
    beta_.push_back(beta);
  }
  w_ = Array<const void*>(w);
  x_ = Array<const void*>(x);
  y_ = Array<void*>(y);
}

void GroupedProduct::queue() const {
#if defined(PETS_GROUPED_PRODUCTS)
  check(cublasGemmGroupedBatchedEx(cublas_, transposed_.data(), plain_.data(), m_.data(), n_.data(), k_.data(), alpha_.data(), w_.data(),
                                   CUDA_R_16F, lda_.data(), x_.data(), CUDA_R_16F, ldb_.data(), beta_.data(), y_.data(), CUDA_R_16F,
                                   ldc_.data(), static_cast<int>(sizes_.size()), sizes_.data(), CUBLAS_COMPUTE_32F),
        "cublasGemmGroupedBatchedEx");
#else
  (void)cublas_;
  throw std::runtime_error("cublasGemmGroupedBatchedEx: this build's CUDA is older than 12.5");
#endif
}

}  // namespace pets::benchmarks::gpu
