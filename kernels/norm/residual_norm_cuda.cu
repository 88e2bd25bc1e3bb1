#include "kernels/norm/residual_norm_cuda.h"

#include "kernels/norm/warp_norm_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarpsPerBlock = 4;  // a warp a row: enough rows in flight to cover the loads, and blocks small enough for small batches

// Where the parameters lie is known after two loads that need each other, slot and tables; the row's own values are asked for before them,
// even where the row turns out to be another kernel's, and the norm's parameters before the sums.
template <class T, unsigned kVectors>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpSize) residual_norm_kernel(ResidualNorm<T> call) {
  follow_earlier_launches();
  const unsigned row = blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpSize;
  if (row >= call.rows) return;
  const uint32_t slot = call.slots[row];
  T* const to = call.residual + static_cast<size_t>(row) * call.width;
  StoredRow<T, kVectors> dense, residual;
  dense.load(call.dense + static_cast<size_t>(row) * call.width, call.width);
  residual.load(to, call.width);

  __syncwarp();  // here as below: the compiler would move loads from before it behind it
  const bool ours = call.bottlenecks[slot].down == nullptr;
  const TaskLinear& linear = call.linears[slot];
  const float* const scale = load_ahead<1>(&linear.scale_output, true).values[0];
  TaskNorm norm = call.norms[slot];  // a copy: a reference to one of two would put the parameters on the stack
  if (norm.gamma == nullptr) norm = call.norm;
  StoredRow<float, kVectors> bias, gamma, beta;
  bias.load(linear.bias != nullptr ? linear.bias : call.bias, call.width, ours);
  gamma.load(norm.gamma, call.width, ours);
  beta.load(norm.beta, call.width, ours);
  __syncwarp();
  if (!ours) return;  // not earlier: the tables would be read one after another

  WarpRow<kVectors> values = to_floats(dense);
  if (scale != nullptr) {
    for_each_vector(values, call.width, [&](Vector4& value, unsigned at) { value = value * load_vector<kRowVectorSize>(scale + at); });
  }
  values = (values + to_floats(bias)) + to_floats(residual);
  normalize(values, call.width, gamma, beta, call.epsilon);
  for_each_vector(values, call.width, [&](const Vector4& value, unsigned at) { store_vector(to + at, value); });
}

}  // namespace

template <class T>
void residual_norm(Stream stream, const ResidualNorm<T>& call) {
  if (call.rows == 0) return;
  const dim3 grid((call.rows + kWarpsPerBlock - 1) / kWarpsPerBlock), block(kWarpsPerBlock * kWarpSize);
  if (call.width <= 4 * kWarpRowFeatures) {
    launch(stream, residual_norm_kernel<T, 4>, grid, block, 0, call);
  } else if (call.width <= 6 * kWarpRowFeatures) {
    launch(stream, residual_norm_kernel<T, 6>, grid, block, 0, call);
  } else {
    launch(stream, residual_norm_kernel<T, 8>, grid, block, 0, call);
  }
}

template void residual_norm(Stream, const ResidualNorm<float>&);
template void residual_norm(Stream, const ResidualNorm<Half>&);
template void residual_norm(Stream, const ResidualNorm<BFloat16>&);

}  // namespace pets::kernels::cuda
