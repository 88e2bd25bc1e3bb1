#include "kernels/quantize/quantize_rows_cuda.h"

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // a row each: small blocks, so that few rows are on many multiprocessors
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kStepWidth = kWarpSize * kVectorSize;  // of a row, that a warp loads at once
constexpr float kLargest = 127;
constexpr float kSmallestNotZero = 1e-36F;  // below it a step would lose its precision

/// All loads of a row come first. kSteps: of kStepWidth values.
template <class T, unsigned kSteps>
__global__ void __launch_bounds__(kThreads) quantize_rows_kernel(QuantizeRows<T> call) {
  follow_earlier_launches();
  const unsigned row = blockIdx.x * kWarps + threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  if (row >= call.rows) return;
  const T* const x = call.x + static_cast<size_t>(row) * call.width + lane * kVectorSize;
  int8_t* const q = call.q + static_cast<size_t>(row) * call.width + lane * kVectorSize;
  StoredVector8<T> vectors[kSteps];
#pragma unroll
  for (unsigned i = 0; i < kSteps; ++i) {
    vectors[i] = {};
    if (i * kStepWidth + lane * kVectorSize < call.used) vectors[i] = load_stored(x + i * kStepWidth);
  }

  // Magnitudes are compared as integers: infinities and NaNs are greater than every number.
  constexpr unsigned kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000, kNan = 0x7FC00000;
  unsigned greatest = 0;
#pragma unroll
  for (unsigned i = 0; i < kSteps; ++i) {
#pragma unroll
    for (unsigned n = 0; n < kVectorSize; ++n) {
      if (i * kStepWidth + lane * kVectorSize + n >= call.used) vectors[i].values[n] = from_float<T>(0);
      const unsigned magnitude = __float_as_uint(to_float(vectors[i].values[n])) & kMagnitude;
      greatest = greatest < magnitude ? magnitude : greatest;
    }
  }
  greatest = __reduce_max_sync(kAllLanes, greatest);
  const bool finite = greatest < kInfinity;
  const float largest = __uint_as_float(greatest);
  const bool zero = !finite || largest < kSmallestNotZero;
  const float inverse = zero ? 0 : kLargest / largest;

#pragma unroll
  for (unsigned i = 0; i < kSteps; ++i) {
    if (i * kStepWidth + lane * kVectorSize >= call.width) break;
    StoredVector8<int8_t> bytes;
#pragma unroll
    for (unsigned n = 0; n < kVectorSize; ++n) {
      bytes.values[n] = static_cast<int8_t>(__float2int_rn(to_float(vectors[i].values[n]) * inverse));
    }
    store_stored(q + i * kStepWidth, bytes);
  }
  if (lane == 0) call.scale[row] = finite ? (zero ? 0 : largest / kLargest) : __uint_as_float(kNan);
}

template <class T>
__global__ void __launch_bounds__(kThreads) dequantize_rows_kernel(DequantizeRows<T> call) {
  follow_earlier_launches();
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x, vectors = call.out / kVectorSize;  // one a thread
  const uint32_t row = index / vectors, at = index % vectors * kVectorSize;
  if (row >= call.rows) return;
  const StoredVector8<int32_t> sums = load_stored(call.sums + static_cast<size_t>(row) * call.out + at);
  const Vector8 scale = load_vector(call.column_scale + at);
  const float row_scale = call.row_scale[row];
  Vector8 y;
#pragma unroll
  for (unsigned i = 0; i < kVectorSize; ++i) y[i] = static_cast<float>(sums.values[i]) * (row_scale * scale[i]);
  store_vector(call.y + static_cast<size_t>(row) * call.y_stride + at, y);
}

}  // namespace

template <class T>
void quantize_rows(Stream stream, const QuantizeRows<T>& call) {
  if (call.rows == 0) return;
  constexpr unsigned kFew = 4, kSome = 8, kMost = kMostQuantizedWidth / kStepWidth;  // of BERT-base's hidden size there are three steps
  const unsigned steps = (call.width + kStepWidth - 1) / kStepWidth;
  auto* const kernel = steps <= kFew    ? quantize_rows_kernel<T, kFew>
                       : steps <= kSome ? quantize_rows_kernel<T, kSome>
                                        : quantize_rows_kernel<T, kMost>;
  launch(stream, kernel, dim3((call.rows + kWarps - 1) / kWarps), dim3(kThreads), 0, call);
}

template <class T>
void dequantize_rows(Stream stream, const DequantizeRows<T>& call) {
  if (call.rows == 0) return;
  const uint32_t threads = call.rows * (call.out / kVectorSize);
  launch(stream, dequantize_rows_kernel<T>, dim3((threads + kThreads - 1) / kThreads), dim3(kThreads), 0, call);
}

template void quantize_rows(Stream, const QuantizeRows<float>&);
template void quantize_rows(Stream, const QuantizeRows<Half>&);
template void quantize_rows(Stream, const QuantizeRows<BFloat16>&);
template void dequantize_rows(Stream, const DequantizeRows<float>&);
template void dequantize_rows(Stream, const DequantizeRows<Half>&);
template void dequantize_rows(Stream, const DequantizeRows<BFloat16>&);

}  // namespace pets::kernels::cuda
