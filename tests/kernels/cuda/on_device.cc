// The main of test programs that need a CUDA device: without one they are skipped, and say why (exit status 77).
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr int kSkipped = 77;
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    std::printf("skipped: no CUDA device: %s\n", error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
    return kSkipped;
  }
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) == cudaSuccess) std::printf("on %s\n", properties.name);
  return RUN_ALL_TESTS();
}
