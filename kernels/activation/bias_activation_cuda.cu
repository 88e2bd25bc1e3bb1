#include "kernels/activation/bias_activation_cuda.h"

#include "kernels/activation/activation_cuda.h"

namespace pets::kernels::cuda {
namespace {

// A thread does one vector of each of four neighbouring rows: their loads are in flight at once, before the parameters are looked for, and
// rows of one task share these.
constexpr unsigned kRows = 4;
constexpr unsigned kThreads = 128;
constexpr unsigned kColumns = 64;  // vectors of a row that a block does: half of its threads
constexpr unsigned kRowsOfBlock = kThreads / kColumns * kRows;

/// kFastGelu: the activation is kGelu, and T has few enough bits for the fast one.
template <class T, bool kFastGelu>
__global__ void __launch_bounds__(kThreads, kFastGelu ? 9 : 6) bias_activation_kernel(BiasActivation<T> call) {
  follow_earlier_launches();
  const uint32_t at = (blockIdx.y * kColumns + threadIdx.x % kColumns) * kVectorSize;
  const uint32_t first = blockIdx.x * kRowsOfBlock + threadIdx.x / kColumns * kRows;
  if (at >= call.width || first >= call.rows) return;
  const uint32_t rows = call.rows - first < kRows ? call.rows - first : kRows;
  T* const y = call.y + static_cast<size_t>(first) * call.stride + at;
  StoredVector8<T> values[kRows];
  uint32_t slots[kRows];
#pragma unroll
  for (unsigned i = 0; i < kRows; ++i) {
    if (i < rows) slots[i] = call.slots[first + i];
  }
#pragma unroll
  for (unsigned i = 0; i < kRows; ++i) {
    if (i < rows) values[i] = load_stored(y + i * static_cast<size_t>(call.stride));
  }
  Vector8 scale, bias;
#pragma unroll
  for (unsigned i = 0; i < kRows; ++i) {
    if (i >= rows) break;
    if (i == 0 || slots[i] != slots[i - 1]) {
      const TaskLinear& linear = call.linears[slots[i]];
      scale = load_or(linear.scale_output, at, 1);
      bias = load_vector((linear.bias != nullptr ? linear.bias : call.bias) + at);
    }
    Vector8 x = fma(to_floats(values[i]), scale, bias);
    if constexpr (kFastGelu) {
#pragma unroll
      for (unsigned j = 0; j < kVectorSize; ++j) x[j] = fast_gelu(x[j]);
    } else {
      activate(call.activation, x);
    }
    store_vector(y + i * static_cast<size_t>(call.stride), x);
  }
}

}  // namespace

template <class T>
void bias_activation(Stream stream, const BiasActivation<T>& call) {
  if (call.rows == 0) return;
  const dim3 grid((call.rows + kRowsOfBlock - 1) / kRowsOfBlock, (call.width / kVectorSize + kColumns - 1) / kColumns);
  if constexpr (sizeof(T) < sizeof(float)) {
    if (call.activation == Activation::kGelu) {
      return launch(stream, bias_activation_kernel<T, true>, grid, dim3(kThreads), 0, call);
    }
  }
  launch(stream, bias_activation_kernel<T, false>, grid, dim3(kThreads), 0, call);
}

template void bias_activation(Stream, const BiasActivation<float>&);
template void bias_activation(Stream, const BiasActivation<Half>&);
template void bias_activation(Stream, const BiasActivation<BFloat16>&);

}  // namespace pets::kernels::cuda
