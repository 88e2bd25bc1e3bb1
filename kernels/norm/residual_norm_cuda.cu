#include "kernels/norm/residual_norm_cuda.h"

#include "kernels/norm/warp_norm_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarpsPerBlock = 4;  // a warp a row: enough rows in flight to cover the loads, and blocks small enough for small batches

template <class T, unsigned kVectors>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpSize) residual_norm_kernel(ResidualNorm<T> call) {
  const unsigned row = blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpSize;
  if (row >= call.rows) return;
  const uint32_t slot = call.slots[row];
  if (call.bottlenecks[slot].down != nullptr) return;
  const TaskLinear& linear = call.linears[slot];
  const float* const bias = linear.bias != nullptr ? linear.bias : call.bias;
  const float* const scale = linear.scale_output;
  TaskNorm norm = call.norms[slot];  // a copy: a reference to one of two would put the parameters on the stack
  if (norm.gamma == nullptr) norm = call.norm;
  const T* const dense = call.dense + static_cast<size_t>(row) * call.width;
  T* const residual = call.residual + static_cast<size_t>(row) * call.width;

  WarpRow<kVectors> values;
  for_each_vector(values, call.width, [&](Vector8& value, unsigned at) {
    const Vector8 product = scale != nullptr ? load_vector(dense + at) * load_vector(scale + at) : load_vector(dense + at);
    value = (product + load_vector(bias + at)) + load_vector(residual + at);
  });
  normalize(values, call.width, norm.gamma, norm.beta, call.epsilon);
  for_each_vector(values, call.width, [&](const Vector8& value, unsigned at) { store_vector(residual + at, value); });
}

}  // namespace

template <class T>
void residual_norm(Stream stream, const ResidualNorm<T>& call) {
  if (call.rows == 0) return;
  const dim3 grid((call.rows + kWarpsPerBlock - 1) / kWarpsPerBlock), block(kWarpsPerBlock * kWarpSize);
  if (call.width <= 2 * kWarpRowFeatures) {
    launch(stream, residual_norm_kernel<T, 2>, grid, block, 0, call);
  } else {
    launch(stream, residual_norm_kernel<T, 4>, grid, block, 0, call);
  }
}

template void residual_norm(Stream, const ResidualNorm<float>&);
template void residual_norm(Stream, const ResidualNorm<Half>&);
template void residual_norm(Stream, const ResidualNorm<BFloat16>&);

}  // namespace pets::kernels::cuda
