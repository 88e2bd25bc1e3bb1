#include "kernels/activation/bias_activation_cuda.h"

#include "kernels/activation/activation_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;  // one vector each: the parameters, shared by rows, come from L1

template <class T>
__global__ void __launch_bounds__(kThreads) bias_activation_kernel(BiasActivation<T> call) {
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x, vectors = call.width / kVectorSize;
  const uint32_t row = index / vectors, at = index % vectors * kVectorSize;
  if (row >= call.rows) return;
  const TaskLinear& linear = call.linears[call.slots[row]];
  const float* const bias = linear.bias != nullptr ? linear.bias : call.bias;
  T* const y = call.y + static_cast<size_t>(row) * call.stride + at;
  Vector8 x = fma(load_vector(y), load_or(linear.scale_output, at, 1), load_vector(bias + at));
  activate(call.activation, x);
  store_vector(y, x);
}

}  // namespace

template <class T>
void bias_activation(Stream stream, const BiasActivation<T>& call) {
  if (call.rows == 0) return;
  const uint32_t threads = call.rows * (call.width / kVectorSize);
  launch(stream, bias_activation_kernel<T>, dim3((threads + kThreads - 1) / kThreads), dim3(kThreads), 0, call);
}

template void bias_activation(Stream, const BiasActivation<float>&);
template void bias_activation(Stream, const BiasActivation<Half>&);
template void bias_activation(Stream, const BiasActivation<BFloat16>&);

}  // namespace pets::kernels::cuda
