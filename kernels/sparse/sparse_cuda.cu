#include "kernels/sparse/sparse_cuda.h"

#include "kernels/cuda/row_tile.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;            // a column each
constexpr unsigned kMostGroups = 4;           // of columns a tile: each stages the tile's inputs anew
constexpr unsigned kMostRows = 16;            // of a tile
constexpr unsigned kSharedBytes = 48 * 1024;  // of a block, on every GPU, without asking for more

/// One input of the block's rows.
template <class T, unsigned kRows>
struct alignas(kRows * sizeof(T) < kVectorBytes ? kRows * sizeof(T) : kVectorBytes) Rows {
  T values[kRows];
};

/// Where input k of all rows lies. While inputs are staged, the lanes of a warp write one input each of several vectors: in order, those
/// would lie a vector apart and meet in few banks.
template <class T>
__device__ unsigned place(unsigned k) {
  return k ^ k / Vector<T>::kValues % Vector<T>::kValues;
}

template <class T, unsigned kRows>
__global__ void __launch_bounds__(kThreads) sparse_kernel(Sparse<T> call) {
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const TaskLinear& linear = call.linears[tile.slot];
  const uint32_t* const column_start = linear.sparse_column_start;
  const uint16_t* const entry_rows = linear.sparse_rows;
  const float* const entry_values = linear.sparse_values;
  const unsigned skipped = blockIdx.z * kRows;
  if (column_start == nullptr || skipped >= tile.rows) return;
  const unsigned rows = tile.rows - skipped < kRows ? tile.rows - skipped : kRows;
  const size_t first_row = tile.first_row + skipped;

  // Rows that the tile does not have, which may be another task's or lie beyond the array, are not read: zeros stand for them.
  constexpr unsigned kValues = Vector<T>::kValues, kVectorsAtOnce = kThreads / kRows;
  auto* const inputs = shared_memory<Rows<T, kRows>>();
  const unsigned own_row = threadIdx.x % kRows, vectors = call.in / kValues;
  const T* const x = call.x + (first_row + own_row) * call.in;
  for (unsigned first = threadIdx.x / kRows; first < vectors; first += kLoadsAtOnce * kVectorsAtOnce) {
    Vector<T> loaded[kLoadsAtOnce] = {};
#pragma unroll
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const unsigned at = first + i * kVectorsAtOnce;
      if (own_row < rows && at < vectors) loaded[i] = *reinterpret_cast<const Vector<T>*>(x + at * kValues);
    }
#pragma unroll
    for (unsigned i = 0; i < kLoadsAtOnce; ++i) {
      const unsigned at = first + i * kVectorsAtOnce;
      if (at >= vectors) break;
#pragma unroll
      for (unsigned k = 0; k < kValues; ++k) inputs[place<T>(at * kValues + k)].values[own_row] = loaded[i].values[k];
    }
  }
  __syncthreads();

  for (unsigned column = blockIdx.y * kThreads + threadIdx.x; column < call.out; column += gridDim.y * kThreads) {
    const uint32_t begin = __ldg(column_start + column), end = __ldg(column_start + column + 1);
    if (begin == end) continue;
    T* const y = call.y + first_row * call.out_stride + column;
    float sums[kRows];
#pragma unroll
    for (unsigned row = 0; row < kRows; ++row) sums[row] = row < rows ? to_float(y[row * call.out_stride]) : 0.0F;
#pragma unroll 4
    for (uint32_t j = begin; j < end; ++j) {
      const float value = __ldg(entry_values + j);
      const Rows<T, kRows> input = inputs[place<T>(__ldg(entry_rows + j))];
#pragma unroll
      for (unsigned row = 0; row < kRows; ++row) sums[row] = fmaf(to_float(input.values[row]), value, sums[row]);
    }
#pragma unroll
    for (unsigned row = 0; row < kRows; ++row) {
      if (row < rows) y[row * call.out_stride] = from_float<T>(sums[row]);
    }
  }
}

/// As many rows a block as have their inputs in shared memory: all of them read the same entries.
template <class T, unsigned kRows>
void launch_for_rows(Stream stream, const Sparse<T>& call) {
  const unsigned shared_bytes = call.in * kRows * sizeof(T);
  if constexpr (kRows * sizeof(T) > kVectorBytes / 2) {
    if (shared_bytes > kSharedBytes) return launch_for_rows<T, kRows / 2>(stream, call);
  }
  const unsigned groups = (call.out + kThreads - 1) / kThreads;
  const dim3 grid(call.tiles.most, groups < kMostGroups ? groups : kMostGroups, kMostRows / kRows);
  launch(stream, sparse_kernel<T, kRows>, grid, dim3(kThreads), shared_bytes, call);
}

}  // namespace

template <class T>
void sparse(Stream stream, const Sparse<T>& call) {
  if (call.tiles.most == 0) return;
  if (call.sites > 1) {
    for (uint32_t site = 0; site < call.sites; ++site) {
      Sparse<T> one = call;
      one.sites = 1;
      one.y += site * call.out;
      one.linears.operators += site;
      sparse(stream, one);
    }
    return;
  }
  launch_for_rows<T, 2 * kVectorBytes / sizeof(T)>(stream, call);
}

template void sparse(Stream, const Sparse<float>&);
template void sparse(Stream, const Sparse<Half>&);
template void sparse(Stream, const Sparse<BFloat16>&);

}  // namespace pets::kernels::cuda
