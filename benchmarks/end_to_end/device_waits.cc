#include "benchmarks/end_to_end/device_waits.h"

#if defined(PETS_BENCH_CUDA)
#include <cuda_runtime_api.h>
#endif

namespace pets::benchmarks {

#if defined(PETS_BENCH_CUDA)
bool sleep_while_waiting(bool sleep) {
  return cudaSetDeviceFlags(sleep ? cudaDeviceScheduleBlockingSync : cudaDeviceScheduleSpin) == cudaSuccess;
}
#else
bool sleep_while_waiting(bool) { return false; }
#endif

}  // namespace pets::benchmarks
