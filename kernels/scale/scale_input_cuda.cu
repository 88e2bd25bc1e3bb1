#include "kernels/scale/scale_input_cuda.h"

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;  // one vector each: the factors, shared by rows, come from L1

template <class T>
__global__ void __launch_bounds__(kThreads) scale_input_kernel(ScaleInput<T> call) {
  follow_earlier_launches();
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x, vectors = call.width / kVectorSize;
  const uint32_t row = index / vectors, at = index % vectors * kVectorSize;
  if (row >= call.rows) return;
  const size_t offset = static_cast<size_t>(row) * call.width + at;
  const float* const factors = call.linears[call.slots[row]].scale_input;
  if (factors == nullptr) {
    store_stored(call.scaled + offset, load_stored(call.x + offset));
  } else {
    store_vector(call.scaled + offset, load_vector(call.x + offset) * load_vector(factors + at));
  }
}

}  // namespace

template <class T>
void scale_input(Stream stream, const ScaleInput<T>& call) {
  if (call.rows == 0) return;
  const uint32_t threads = call.rows * (call.width / kVectorSize);
  launch(stream, scale_input_kernel<T>, dim3((threads + kThreads - 1) / kThreads), dim3(kThreads), 0, call);
}

template void scale_input(Stream, const ScaleInput<float>&);
template void scale_input(Stream, const ScaleInput<Half>&);
template void scale_input(Stream, const ScaleInput<BFloat16>&);

}  // namespace pets::kernels::cuda
