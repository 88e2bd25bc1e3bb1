#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

namespace pets::benchmarks::gpu {

void peaks(Gpu& gpu) {
  std::printf("## Peaks of this device\n\n");
  print_header({"what", "rate"});
  constexpr size_t kBytes = size_t{1} << 30;
  {
    const Array<std::byte> from(kBytes), to(kBytes);
    check(cudaMemset(from.data(), 1, kBytes), "writing");
    Way copy;
    copy.queue = [&](uint32_t) { check(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, gpu.stream), "a copy"); };
    measure(gpu, {&copy});
    print_row({"device to device copy of 1 GiB, read and written", times(2 * static_cast<double>(kBytes) / copy.seconds * 1e-9) + " GB/s"});
  }
  for (const int n : {4096, 8192}) {
    const size_t values = static_cast<size_t>(n) * n;
    Array<Half> a(values), b(values), c(values);
    a.write(0, gpu.random.halves(1 << 20, 1));
    a.repeat_first(1 << 20);
    b.write(0, gpu.random.halves((1 << 20) - 7, 1));  // another period
    b.repeat_first((1 << 20) - 7);
    const float one = 1, zero = 0;
    Way product;
    product.queue = [&](uint32_t) {
      check(cublasGemmEx(gpu.cublas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a.data(), CUDA_R_16F, n, b.data(), CUDA_R_16F, n, &zero,
                         c.data(), CUDA_R_16F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "a product");
    };
    measure(gpu, {&product});
    print_row({"product of " + std::to_string(n) + " x " + std::to_string(n) + " halves, sums in float, random values",
               times(2.0 * n * n * n / product.seconds * 1e-12) + " TFLOP/s"});
  }
}

}  // namespace pets::benchmarks::gpu
