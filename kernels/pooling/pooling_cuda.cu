#include "kernels/pooling/pooling_cuda.h"

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // they share the rows of a mean, so that long sequences have more loads in flight
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kFeatures = kWarpSize * kVectorSize;  // of a block: one vector a lane
constexpr unsigned kLoadsAtOnce = 4;                     // of a lane: 16 registers (16-bit types)

template <class T>
__global__ void __launch_bounds__(kThreads) pool_rows_kernel(PoolRows<T> call) {
  follow_earlier_launches();
  if (blockIdx.x >= *call.count) return;
  const PooledRow rows = call.rows[blockIdx.x];
  const unsigned warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const unsigned at = blockIdx.y * kFeatures + lane * kVectorSize;
  const bool in_row = at < call.width;
  const T* const from = call.hidden + static_cast<size_t>(rows.first_row) * call.width + at;
  float* const sums = shared_memory<float>();  // [kWarps][kFeatures]

  // Sums start from a row, not from 0, so that a single row is copied as it is, the sign of a zero included.
  const unsigned parts = rows.rows < kWarps ? rows.rows : kWarps;
  Vector8 sum = constant_vector(0);
  if (in_row && warp < parts) {
    sum = load_vector(from + static_cast<size_t>(warp) * call.width);
#pragma unroll kLoadsAtOnce
    for (unsigned row = warp + kWarps; row < rows.rows; row += kWarps)
      sum = sum + load_vector(from + static_cast<size_t>(row) * call.width);
  }
  store_vector(sums + warp * kFeatures + lane * kVectorSize, sum);
  __syncthreads();
  if (warp != 0 || !in_row) return;
  for (unsigned part = 1; part < parts; ++part) sum = sum + load_vector(sums + part * kFeatures + lane * kVectorSize);
  const auto count = static_cast<float>(rows.rows);
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) sum[i] /= count;
  store_vector(call.pooled + static_cast<size_t>(blockIdx.x) * call.width + at, sum);
}

}  // namespace

template <class T>
void pool_rows(Stream stream, const PoolRows<T>& call) {
  if (call.most == 0) return;
  const dim3 grid(call.most, (call.width + kFeatures - 1) / kFeatures);
  launch(stream, pool_rows_kernel<T>, grid, dim3(kThreads), kWarps * kFeatures * sizeof(float), call);
}

template void pool_rows(Stream, const PoolRows<float>&);
template void pool_rows(Stream, const PoolRows<Half>&);
template void pool_rows(Stream, const PoolRows<BFloat16>&);

}  // namespace pets::kernels::cuda
