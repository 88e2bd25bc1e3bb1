#include "kernels/rows/rows_cuda.h"

#include "kernels/cuda/vector8.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;  // one vector each

template <class T>
__global__ void __launch_bounds__(kThreads) gather_rows_kernel(const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to) {
  follow_earlier_launches();
  const uint32_t index = blockIdx.x * kThreads + threadIdx.x, vectors = width / kVectorSize;
  const uint32_t row = index / vectors, at = index % vectors * kVectorSize;
  if (row >= count) return;
  store_stored(to + static_cast<size_t>(row) * width + at, load_stored(from + static_cast<size_t>(rows[row]) * width + at));
}

}  // namespace

template <class T>
void gather_rows(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to) {
  if (count == 0) return;
  const uint32_t threads = count * (width / kVectorSize);
  launch(stream, gather_rows_kernel<T>, dim3((threads + kThreads - 1) / kThreads), dim3(kThreads), 0, from, rows, count, width, to);
}

template void gather_rows(Stream, const float*, const uint32_t*, uint32_t, uint32_t, float*);
template void gather_rows(Stream, const Half*, const uint32_t*, uint32_t, uint32_t, Half*);
template void gather_rows(Stream, const BFloat16*, const uint32_t*, uint32_t, uint32_t, BFloat16*);

}  // namespace pets::kernels::cuda
