#include "kernels/rows/rows_cuda.h"

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;  // one vector each

template <class T>
__global__ void __launch_bounds__(kThreads) gather_rows_kernel(const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to) {
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x, vectors = width / kVectorSize;
  const uint32_t row = index / vectors, at = index % vectors * kVectorSize;
  if (row >= count) return;
  store_stored(to + static_cast<size_t>(row) * width + at, load_stored(from + static_cast<size_t>(rows[row]) * width + at));
}

// One block a strip and 64 features: the 16 rows of 64 features are one vector a thread, read in runs of 128 bytes (16-bit types) and
// written as one run of 4 KiB.
constexpr unsigned kStripFeatures = 64;
constexpr unsigned kStripVectors = kStripFeatures / kVectorSize;
static_assert(kStripVectors * kStripRows == kThreads);
constexpr unsigned kFeatureStride = kStripRows + 1;  // floats: an odd stride spreads a row's features over the banks

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_strips_kernel(const T* from, const uint32_t* rows, uint32_t count, uint32_t width, float* strips) {
  float* const turned = shared_memory<float>();  // [features][kFeatureStride]
  const uint32_t first_feature = blockIdx.y * kStripFeatures;
  const uint32_t features = width - first_feature < kStripFeatures ? width - first_feature : kStripFeatures;

  const unsigned lane_row = threadIdx.x / kStripVectors, feature = threadIdx.x % kStripVectors * kVectorSize;
  const uint32_t row = blockIdx.x * kStripRows + lane_row;
  if (feature < features) {
    const Vector8 values =
        row < count ? load_vector(from + static_cast<size_t>(rows == nullptr ? row : rows[row]) * width + first_feature + feature)
                    : constant_vector(0);
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) turned[(feature + i) * kFeatureStride + lane_row] = values[i];
  }
  __syncthreads();
  float* const strip = strips + (static_cast<size_t>(blockIdx.x) * width + first_feature) * kStripRows;
  for (unsigned i = threadIdx.x; i < features * kStripRows; i += kThreads) {
    strip[i] = turned[i / kStripRows * kFeatureStride + i % kStripRows];
  }
}

}  // namespace

template <class T>
void gather_rows(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to) {
  if (count == 0) return;
  const uint32_t threads = count * (width / kVectorSize);
  launch(stream, gather_rows_kernel<T>, dim3((threads + kThreads - 1) / kThreads), dim3(kThreads), 0, from, rows, count, width, to);
}

template <class T>
void gather_strips(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, float* strips) {
  if (count == 0) return;
  const dim3 grid((count + kStripRows - 1) / kStripRows, (width + kStripFeatures - 1) / kStripFeatures);
  const size_t shared_bytes = kStripFeatures * kFeatureStride * sizeof(float);
  launch(stream, gather_strips_kernel<T>, grid, dim3(kThreads), shared_bytes, from, rows, count, width, strips);
}

template void gather_rows(Stream, const float*, const uint32_t*, uint32_t, uint32_t, float*);
template void gather_rows(Stream, const Half*, const uint32_t*, uint32_t, uint32_t, Half*);
template void gather_rows(Stream, const BFloat16*, const uint32_t*, uint32_t, uint32_t, BFloat16*);
template void gather_strips(Stream, const float*, const uint32_t*, uint32_t, uint32_t, float*);
template void gather_strips(Stream, const Half*, const uint32_t*, uint32_t, uint32_t, float*);
template void gather_strips(Stream, const BFloat16*, const uint32_t*, uint32_t, uint32_t, float*);

}  // namespace pets::kernels::cuda
