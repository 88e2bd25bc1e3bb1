// Whether this build's kernels run on the current device.
#pragma once

#include <cuda_runtime_api.h>

namespace pets::kernels::cuda {

/// cudaSuccess, or why not: cudaErrorNoKernelImageForDevice where the build has no code for the device's architecture.
cudaError_t has_code() noexcept;

}  // namespace pets::kernels::cuda
